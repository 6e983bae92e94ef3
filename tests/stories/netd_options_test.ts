/** netd's command line: what is filled in, and that every bad option is named. Its API's answers without a machine. */

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { parseOptions, USAGE, UsageError } from "../../tools/netd/options.ts";
import { withoutLoopback } from "../../tools/netd/uplink.ts";
import { SlirpApi } from "../../tools/netd/slirp_api.ts";

const parse = (text: string) => parseOptions(text.split(" "), () => ["192.0.2.53"])!;

Deno.test("netd's defaults", () => {
  const { uplink, nat, guest, forwards, offload } = parse("--qemu /run/vm.sock");
  assertEquals(guest, { kind: "qemu", path: "/run/vm.sock" });
  assertEquals(
    { ...uplink },
    {
      ...{ kind: "tap", device: null, attach: false, address: "10.99.0.2/24", peer: "10.99.0.1/24" },
      ...{ gateway: "10.99.0.1", netns: null, mtu: 1500 },
    },
  );
  assertEquals([nat.nameServers, nat.guestMac, forwards, offload], [["192.0.2.53"], null, [], true]);
});

Deno.test("netd opens the machine's loopback unless that is disabled, or all is restricted", () => {
  const loopback = (text: string) => {
    const { nat } = parse(`--netns x ${text}`);
    return [nat.farLoopback, nat.policy!.loopback];
  };
  assertEquals(loopback("--mtu 1500"), [true, true]);
  assertEquals(loopback("--restrict --allow tcp:10.0.2.2:8000"), [true, false], "only what is allowed");
  assertEquals(loopback("--disable-host-loopback"), [false, false]);
});

Deno.test("netd asks the machine's name servers on loopback only if there are no others, and it is open", () => {
  const servers = (machines: string[], ...args: string[]) =>
    parseOptions(["--netns", "x", ...args], () => machines)!.nat;
  assertEquals(servers(["127.0.0.53", "192.0.2.53"]).nameServers, ["192.0.2.53"]);
  assertEquals(servers(["127.0.0.53"]).nameServers, ["127.0.0.53"]);
  assertEquals(servers([]).nameServers, ["10.99.0.1"]);
  assertEquals(servers(["192.0.2.53"], "--dns", "127.0.0.1").nameServers, ["127.0.0.1"]);
  assertEquals(withoutLoopback(servers(["127.0.0.53"]), "10.99.0.1").nameServers, ["10.99.0.1"]);
  assertEquals(withoutLoopback(servers([]), "10.99.0.1").policy!.loopback, false);
});

Deno.test("netd's peer is the network's first address that is not ours, unless told", () => {
  assertEquals(parse("--netns x --uplink-address 192.0.2.1/30").uplink.peer, "192.0.2.2/30");
  assertEquals(parse("--netns x --uplink-address 192.0.2.9/24 --uplink-peer 192.0.2.8/24").uplink.gateway, "192.0.2.8");
  const attached = parse("--netns x --uplink-attach --uplink-device tap9 --uplink-gateway 10.99.0.254").uplink;
  assertEquals([attached.peer, attached.gateway], [null, "10.99.0.254"]);
  const policy = parse("--netns x --disable-host-loopback --deny tcp:*:25").nat.policy!;
  assertEquals(policy.deny, ["tcp:*:25", "*:10.99.0.1:*"]);
});

Deno.test("netd names the option that is bad", () => {
  const bad: [string, RegExp][] = [
    ["--quiet", /^Want one of --qemu and --netns$/],
    ["--qemu a --netns b", /^Want one of --qemu and --netns$/],
    ["--netns", /^No value after --netns$/],
    ["--qemu a --configure", /^--configure is for --netns$/],
    ["--netns a --one-off", /^--one-off is for --qemu$/],
    ["--netns a --uplink wifi", /"wifi" for --uplink: tap or tun/],
    ["--netns a --uplink-attach", /--uplink-device NAME/],
    ["--netns a --uplink-address 10.0.0.1", /for --uplink-address: an address, a slash/],
    ["--netns a --mtu 65522", /for --mtu: a whole number of 576 to 65521/],
    ["--netns a --cidr 10.0.0.0/31", /"10\.0\.0\.0\/31" for --cidr: /],
    ["--netns a --dns x", /"x" for --dns: an IPv4 address/],
    ["--netns a --forward tcp:1", /"tcp:1" for --forward: Cannot read the forward/],
    ["--netns a --allow nonsense", /"nonsense" for --allow: Cannot read the rule/],
    ["--netns a --deny tcp:*:0x", /for --deny: /],
    ["--netns a --exit-fd x", /"x" for --exit-fd: /],
    ["--netns a b", /^Unexpected argument "b"$/],
    ["--nets a", /^Unknown option "--nets"$/],
  ];
  for (const [text, wanted] of bad) assertMatch(assertThrows(() => parse(text), UsageError, "", text).message, wanted);
  assertEquals(parseOptions(["--help"], () => []), null);
  for (const line of USAGE.split("\n")) assertEquals(line.length <= 120, true, line);
});

Deno.test("slirp4netns' API: what makes no sense is answered as a bad request", () => {
  const asked: string[] = [];
  const api = new SlirpApi((text) => {
    asked.push(text);
    return asked.length === 1 ? "ok\n" : "error: Cannot forward it\n";
  });
  const good = { proto: "udp", host_port: 53, guest_port: 5353 };
  const request = (execute: unknown, args?: unknown) => api.answer(JSON.stringify({ execute, arguments: args }));
  assertEquals(request("add_hostfwd", good), '{"return":{"id":1}}');
  assertEquals(asked, ["add udp:0.0.0.0:53-:5353"]);
  assertEquals(request("add_hostfwd", good), '{"error":{"desc":"bad request: Cannot forward it"}}');
  const senseless = [{ ...good, proto: "sctp" }, { ...good, host_addr: "a b" }, { ...good, guest_port: 0 }, null, 7];
  for (const args of senseless) assertMatch(request("add_hostfwd", args), /^\{"error":\{"desc":"bad request: /);
  for (const text of ["", "null", "[", "{}", '{"execute":7}']) assertMatch(api.answer(text), /bad request/);
  assertMatch(request("remove_hostfwd", { id: 2 }), /no such id 2/);
});
