/**
 * A network namespace of one's own, for `netd run`: made without root, below a user namespace in which the caller is
 * root, and gone with all of its programs when netd ends, however that ends.
 *
 * Path: netd → own_namespace → Linux.
 *
 * A program that waits for the end of its standard input, a pipe of netd, keeps the namespaces. It is the first process
 * of a PID namespace: with it Linux ends everything in there (pid_namespaces(7)), what the command has left behind as
 * well, even if netd was killed. The command enters by nsenter(1), so that it has the caller's terminal and its own
 * exit status. A signal for it goes by the keeper, as nsenter(1) waits outside and passes none on.
 *
 * @module
 */

import { EPERM, HostError } from "../../devices/host/libc.ts";

/**
 * What keeps the namespaces: it says when they are there, and ends with its standard input, of which each line is a
 * signal for the command. The command is alone on its link: it uses its IPv6 addresses at once, without the second in
 * which Linux looks for another station that has them.
 *
 * Orphans become its children, for which it waits besides the subshell, which reads. The command is the child of
 * the process whose parent is outside, number 0; where /proc stays the machine's, as in some containers, a signal goes
 * to all processes.
 */
const KEEPER = `
echo 0 2>/dev/null > /proc/sys/net/ipv6/conf/default/accept_dad
mount -t proc proc /proc 2>/dev/null && has_proc=1
children() {
  for status in /proc/[0-9]*/status; do
    pid= parent=
    while read -r key value; do
      case $key in Pid:) pid=$value ;; PPid:) parent=$value ;; esac
    done < "$status"
    if [ "$parent" = "$1" ] && [ "$pid" != 1 ]; then echo "$pid"; fi
  done
}
pass() {
  if [ -z "$has_proc" ]; then kill -s "$1" -- -1; return; fi
  for entered in $(children 0); do
    for command in $(children "$entered"); do kill -s "$1" "$command"; done
  done
}
echo ready
( while read -r signal; do pass "$signal" 2>/dev/null; done )
exit
`;

/**
 * Runs a program that a terminal's SIGINT and SIGQUIT, which all of its programs get, do not end: they are the
 * command's. Programs below it inherit that, and the command by {@link OWN_SIGNALS} does not.
 */
const UNTOUCHED = `trap '' INT QUIT; exec "$@"`;

/**
 * By env(1) of coreutils 8.31; where it is another one, the command stays without these signals. It is a child: nsenter
 * cannot say that one of them has ended its program.
 */
const OWN_SIGNALS = `
if env --default-signal=INT,QUIT,TERM true 2>/dev/null; then
  trap '' TERM
  env --default-signal=INT,QUIT,TERM "$@"
else
  "$@"
fi
exit $?
`;

/**
 * Gives the command names by the guest's name server: a resolv.conf of its own, bound over the machine's in the private
 * mount namespace. It is made on a tmpfs that covers /tmp for a moment.
 */
const ENTER = `
bind_names() {
  file=$(readlink -f /etc/resolv.conf) && [ -f "$file" ] || return 0
  mount -t tmpfs tmpfs /tmp && printf '%s\\n' "$0" > /tmp/resolv.conf &&
    mount --bind /tmp/resolv.conf "$file" && umount /tmp
}
bind_names || echo "netd: warning: resolv.conf stays that of the machine" >&2
if [ $# -eq 0 ]; then set -- "\${SHELL:-/bin/sh}"; fi
exec "$@"
`;

/** Signals' numbers, for the exit status of a command that one has ended: 128 and the number, as shells have it. */
const SIGNAL_STATUS = 128;
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 };

/** The namespaces: user, network, mount and PID. */
export class OwnNamespace implements AsyncDisposable {
  readonly #keeper: Deno.ChildProcess;
  readonly #signals: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(keeper: Deno.ChildProcess) {
    this.#keeper = keeper;
    this.#signals = keeper.stdin.getWriter();
  }

  /** Makes them. Throws HostError: EPERM, with the reason, where the machine does not let its users. */
  static async make(): Promise<OwnNamespace> {
    const keeper = new Deno.Command("unshare", {
      args: [
        ...["sh", "-c", UNTOUCHED, "sh", "unshare", "--user", "--map-root-user", "--net", "--mount"],
        ...["--pid", "--fork", "--kill-child", "sh", "-c", KEEPER],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const said = new Response(keeper.stderr).text();
    const reader = keeper.stdout.getReader();
    const { done } = await reader.read();
    reader.releaseLock();
    await keeper.stdout.cancel();
    if (done) {
      await keeper.stdin.close();
      await keeper.status;
      throw new HostError("Cannot make a namespace", EPERM, {
        reason: (await said).trim(),
        hint: "the machine's administrator can let users make them: see user.max_user_namespaces, " +
          "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
      });
    }
    return new OwnNamespace(keeper);
  }

  /** The process that keeps them. */
  get pid(): number {
    return this.#keeper.pid;
  }

  /**
   * Runs `command` in them, with this program's standard input, output and error, and `resolvConf` as its resolv.conf;
   * an empty one is the user's shell. Settles with its exit status. `started` gets the process that ends with it.
   */
  async run(command: readonly string[], resolvConf: string, started: (pid: number) => void): Promise<number> {
    const pidNamespace = `--pid=/proc/${this.pid}/ns/pid_for_children`;
    const target = ["--preserve-credentials", "--user", "--net", "--mount", pidNamespace, `--target=${this.pid}`];
    const child = new Deno.Command("nsenter", {
      args: [
        ...["sh", "-c", UNTOUCHED, "sh", "nsenter", ...target],
        ...["sh", "-c", OWN_SIGNALS, "sh", "sh", "-c", ENTER, resolvConf, ...command],
      ],
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
    started(child.pid);
    const { code, signal } = await child.status;
    return signal === null ? code : SIGNAL_STATUS + (SIGNAL_NUMBERS[signal] ?? 0);
  }

  /** Passes a signal to the command. */
  signal(signal: "SIGTERM"): void {
    // It fails if the keeper has ended, and the command with it.
    this.#signals.write(new TextEncoder().encode(`${signal.slice("SIG".length)}\n`)).catch(() => {});
  }

  /** Ends them, and every process that is left there. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#signals.close().catch(() => {});
    await this.#keeper.status;
  }
}
