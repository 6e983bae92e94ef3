/**
 * Linux' own programs as peers: iperf3, and small servers and clients in perl, each in a network namespace.
 *
 * Path: tcp_benches, nat_peers → linux_peers → libc, netns.
 *
 * @module
 */

import { EACCES, HostError } from "../../devices/host/libc.ts";
import { createNetns, type Netns } from "../../devices/host/netns.ts";

/** Port of every server of Linux, and of ours. */
export const PORT = 5201;
/** Ends of the pair of namespaces. */
export const VETH_SERVER = "10.98.0.1";
const VETH_CLIENT = "10.98.0.2";
/** A server that does not listen after so long has failed. */
const LISTEN_LIMIT_MS = 5000;

/** Echoes on every connection, and closes after its client. */
const SERVER = `
use Socket; use IO::Select; my ($port) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
bind($s, pack_sockaddr_in($port, INADDR_ANY)) or die $!; listen($s, 128);
my $all = IO::Select->new($s);
while (my @ready = $all->can_read) { for my $c (@ready) {
  if ($c == $s) { my $new; accept($new, $s) and $all->add($new) }
  elsif (sysread($c, my $b, 65536)) { syswrite($c, $b) }
  else { $all->remove($c); close $c }
} }`;

/**
 * Makes connections (calls), by so many processes at once, or sends a byte and waits for it (turns); prints the seconds
 * taken.
 */
const CLIENT = `
use Socket; use Socket qw(IPPROTO_TCP TCP_NODELAY); use Time::HiRes 'time';
my ($what, $host, $port, $count, $procs) = @ARGV; my ($b, $s);
my $to = pack_sockaddr_in($port, inet_aton($host));
sub call { socket($s, PF_INET, SOCK_STREAM, 0); connect($s, $to) or die $!; }
if ($what eq 'turns') { call(); setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1); }
my $t = time; my $isChild = 0;
for (2..$procs) { if (!fork) { $isChild = 1; last } }
for (1..$count / $procs) {
  if ($what eq 'turns') { syswrite($s, 'x'); sysread($s, $b, 1) == 1 or die; }
  else { call(); shutdown($s, 1); sysread($s, $b, 1); close $s; }
}
exit if $isChild;
while (wait != -1) { die "a process failed" if $? }
print time - $t, "\\n";`;

/** Runs a program of Linux inside `netns`; returns its output. Throws {@link HostError} without the permission. */
export async function runIn(netns: Netns, ...command: string[]): Promise<string> {
  const { success, stdout, stderr } = await nsenter(netns, command, "piped").output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  const text = `${decoder.decode(stdout)}${decoder.decode(stderr)}`.trim();
  throw new HostError(`Cannot run "${command[0]}"`, EACCES, { reason: text.slice(0, 200) });
}

function nsenter(netns: Netns, command: readonly string[], output: "piped" | "null"): Deno.Command {
  if (Deno.permissions.querySync({ name: "run", command: "nsenter" }).state !== "granted") {
    throw new HostError("Cannot start programs of Linux", EACCES, { reason: "needs --allow-run=nsenter" });
  }
  const args = [`--net=${netns.path}`, ...command];
  return new Deno.Command("nsenter", { args, stdin: "null", stdout: output, stderr: output });
}

/** Runs `work` while a server of Linux listens at {@link PORT}. */
export async function withServer<T>(netns: Netns, command: readonly string[], work: () => Promise<T>): Promise<T> {
  const child = nsenter(netns, command, "null").spawn();
  try {
    const end = performance.now() + LISTEN_LIMIT_MS;
    while ((await runIn(netns, "ss", "-Hltn", `sport = :${PORT}`)) === "") {
      if (performance.now() > end) throw new HostError(`Cannot start "${command[0]}"`, EACCES);
    }
    return await work();
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

/** As a server: echoes. */
export const PERL_SERVER: readonly string[] = ["perl", "-e", SERVER, `${PORT}`];
/** As a server: iperf3. */
export const IPERF3_SERVER: readonly string[] = ["iperf3", "-s", "-p", `${PORT}`];

/** What {@link perlClient} does: so many connections, or turns on one, to `host`. */
interface PerlWork {
  readonly what: "calls" | "turns";
  readonly host: string;
  readonly count: number;
  /** Connections at a time, a process each. Default 1. */
  readonly atOnce?: number;
}

/** Seconds that `work` takes from `netns`. */
export async function perlClient(netns: Netns, { what, host, count, atOnce = 1 }: PerlWork): Promise<number> {
  return Number(await runIn(netns, "perl", "-e", CLIENT, what, host, `${PORT}`, `${count}`, `${atOnce}`));
}

/** Bytes a second that iperf3 measures from `netns` to `host`, or back with `reverse`; what arrived counts. */
export async function iperf3Client(
  netns: Netns,
  host: string,
  options: { streams: number; reverse: boolean; seconds: number },
): Promise<number> {
  const { streams, reverse, seconds } = options;
  // The same congestion control everywhere, whatever is usual on this machine.
  const args = ["-C", "cubic", "-P", `${streams}`, "-t", `${seconds}`, ...(reverse ? ["-R"] : [])];
  const text = await runIn(netns, "iperf3", "-J", "-c", host, "-p", `${PORT}`, ...args);
  const { end } = JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 8;
}

/** Two namespaces, joined by a veth pair. */
interface VethPair extends Disposable {
  readonly server: Netns;
  readonly client: Netns;
}

/** Makes the pair; without `offload` no segment is longer than the MTU. */
export async function openVethPair(offload: boolean): Promise<VethPair> {
  const server = createNetns(`akarino-bench-s-${Deno.pid}`);
  const client = createNetns(`akarino-bench-c-${Deno.pid}`);
  const pair: VethPair = {
    server,
    client,
    [Symbol.dispose]() {
      server.close();
      client.close();
    },
  };
  try {
    const segments = offload ? [] : ["gso_max_size", "1514"];
    await runIn(server, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", client.name);
    for (const [netns, name, address] of [[server, "v0", VETH_SERVER], [client, "v1", VETH_CLIENT]] as const) {
      await runIn(netns, "ip", "link", "set", name, "up", ...segments);
      await runIn(netns, "ip", "addr", "add", `${address}/24`, "dev", name);
    }
    return pair;
  } catch (error) {
    pair[Symbol.dispose]();
    throw error;
  }
}
