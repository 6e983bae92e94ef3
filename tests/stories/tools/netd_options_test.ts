/** netd's command line: what is filled in, and that every bad option is named. Its API's answers without a machine. */

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { parseMacAddr } from "../../../kernel/wire/mac_addr.ts";
import { NetdGiven } from "../../../tools/netd/given.ts";
import { NETD } from "../../../tools/netd/option_table.ts";
import { type NetdOptions, netdOptions } from "../../../tools/netd/options.ts";
import { parseResolvConf, type ResolvConf } from "../../../tools/netd/resolv_conf.ts";
import { UsageError } from "../../../tools/options/given.ts";
import { helpText } from "../../../tools/options/option_table.ts";
import { natConfig } from "../../../tools/nat/config.ts";
import { withoutLoopback } from "../../../tools/netd/uplink.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { newGuest, newMap } from "../../kit/nat/guest_maps.ts";
import { formatForward, type Forward, parseForward } from "../../../tools/nat/forward.ts";
import { SlirpApi } from "../../../tools/netd/slirp_api.ts";

/** The resolv.conf of a machine with these name servers. */
const resolvConf = (...addrs: string[]) => parseResolvConf(addrs.map((addr) => `nameserver ${addr}`).join("\n"));

/** Options of a netd on a TAP device, unless the arguments name another uplink. */
function options(args: readonly string[], conf: () => ResolvConf): NetdOptions {
  const uplink = args.includes("--uplink") ? [] : ["--uplink", "tap"];
  return netdOptions(new NetdGiven([...args, ...uplink]), conf);
}
const parse = (text: string) => options(text.split(" "), () => resolvConf("192.0.2.53"));

Deno.test("netd's defaults: sockets of the machine, by which the router's address is the machine", () => {
  const { uplink, nat, guest, forwards, offload } = netdOptions(
    new NetdGiven(["--qemu", "/run/vm.sock"]),
    () => resolvConf("192.0.2.53"),
  );
  assertEquals(guest, { kind: "qemu", path: "/run/vm.sock", isDgram: false });
  assertEquals({ ...uplink }, {
    kind: "socket",
    address: "192.0.0.2/29",
    peer: "192.0.0.1/29",
    gateway: "192.0.0.1",
    v6: null,
    outbound: null,
    outbound6: null,
  });
  assertEquals(
    { machine: nat.machine, servers: nat.nameServers, mac: nat.guestMac, forwards, offload },
    { machine: "192.0.0.1", servers: ["192.0.2.53"], mac: null, forwards: [], offload: true },
  );
});

Deno.test("netd's options of a device are for devices, and those of sockets for sockets", () => {
  const bad: [string, RegExp][] = [
    ["--uplink socket --uplink-device x", /^--uplink-device is for --uplink tap or --uplink tun$/],
    ["--uplink socket --uplink-address 10.0.0.1/24", /^--uplink-address is for --uplink tap or --uplink tun$/],
    ["--uplink socket --uplink-nat", /^--uplink-nat is for --uplink tap or --uplink tun$/],
    ["--uplink tap --uplink-attach --uplink-device x --uplink-nat", /^--uplink-nat is not for --uplink-attach/],
    ["--uplink socket --uplink-mtu 9000", /^--uplink-mtu is for --uplink tap or --uplink tun$/],
    ["--uplink tap --outbound-addr eth0", /^--outbound-addr is for --uplink socket$/],
    ["--uplink socket --outbound-addr6 eth0", /^--outbound-addr6 wants --ipv6$/],
  ];
  for (const [text, wanted] of bad) {
    assertMatch(assertThrows(() => parse(`--netns a ${text}`), UsageError, "", text).message, wanted);
  }
  const { nat, uplink, forwards } = parse("--netns a --uplink socket -6 --forward tcp:127.0.0.1:80:80");
  assertEquals(
    { machine: nat.v6?.machine, peer: uplink.v6?.gateway, forwards },
    { machine: "fd61:6b61:7269:6e6f::1", peer: "fd61:6b61:7269:6e6f::1", forwards: ["tcp:127.0.0.1:80:80"] },
  );
  const closed = parse("--netns a --uplink socket -6 --disable-host-loopback").nat;
  assertEquals([closed.machine, closed.v6?.machine], [undefined, undefined]);
});

Deno.test("netd's defaults with a TAP device", () => {
  const { uplink, nat, guest, forwards, offload } = parse("--qemu /run/vm.sock");
  assertEquals(guest, { kind: "qemu", path: "/run/vm.sock", isDgram: false });
  assertEquals(
    { ...uplink },
    {
      kind: "tap",
      device: null,
      attach: false,
      address: "10.99.0.2/24",
      peer: "10.99.0.1/24",
      gateway: "10.99.0.1",
      v6: null,
      netns: null,
      mtu: 1500,
      nat: false,
    },
  );
  assertEquals([nat.nameServers, nat.guestMac, forwards, offload], [["192.0.2.53"], null, [], true]);
});

Deno.test("netd takes slirp4netns' options, and its short names", () => {
  const got = parse(
    "-c -m 65520 -e 3 -r 4 -a /run/s --netns 7 --userns-path /u --macaddress 02:00:00:00:00:01 --disable-dns",
  );
  assertEquals(got.guest, {
    kind: "netns",
    netns: "7",
    configure: true,
    device: "tap0",
    userns: "/u",
    mac: parseMacAddr("02:00:00:00:00:01"),
  });
  assertEquals([got.nat.mtu, got.nat.dns, got.exitFd, got.readyFd, got.apiSocket], [65520, null, 3, 4, "/run/s"]);
  assertThrows(() => parse("--netns x -m"), UsageError, "No value after --mtu");
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
    options(["--netns", "x", ...args], () => resolvConf(...machines)).nat;
  assertEquals(servers(["127.0.0.53", "192.0.2.53"]).nameServers, ["192.0.2.53"]);
  assertEquals(servers(["127.0.0.53"]).nameServers, ["127.0.0.53"]);
  assertEquals(servers([]).nameServers, ["10.99.0.1"]);
  assertEquals(servers(["192.0.2.53"], "--dns", "127.0.0.1").nameServers, ["127.0.0.1"]);
  assertEquals(withoutLoopback(servers(["127.0.0.53"]), "10.99.0.1").nameServers, ["10.99.0.1"]);
  assertEquals(withoutLoopback(servers([]), "10.99.0.1").policy!.loopback, false);
});

Deno.test("netd takes servers of both versions, patience and domains from resolv.conf; --dns and --search win", () => {
  const conf = parseResolvConf("nameserver 2001:db8::53\nnameserver 192.0.2.53\nsearch a.test\noptions timeout:1");
  const given = (...args: string[]) => options(["--netns", "x", ...args], () => conf);
  const { nat, names } = given("--ipv6");
  assertEquals(nat.nameServers, ["2001:db8::53", "192.0.2.53"]);
  assertEquals([nat.search, nat.dnsPatience, names.isFixed], [["a.test"], { timeoutMs: 1000, attempts: 2 }, false]);
  const { nat: nat4, names: names4 } = given("--search", "b.test");
  assertEquals([nat4.nameServers, nat4.search, names4.isSearchFixed], [["192.0.2.53"], ["b.test"], true]);
  assertMatch(names4.notes.join(), /2001:db8::53 is passed over: it wants --ipv6/);
  const order = ["2001:db8::9", "192.0.2.9", "2001:db8::8"];
  assertEquals(given("--ipv6", ...order.flatMap((one) => ["--dns", one])).nat.nameServers, order);
});

Deno.test("resolv.conf that cannot be read is an error only without --dns", () => {
  const broken = () => {
    throw new KernelError("EFAIL", "it is a directory");
  };
  assertThrows(() => options(["--netns", "x"], broken), KernelError, "it is a directory");
  const { nat, names } = options(["--netns", "x", "--dns", "192.0.2.9"], broken);
  assertEquals([nat.nameServers, names.isFixed], [["192.0.2.9"], true]);
});

Deno.test("netd's guest in a namespace is .100, if its network has that, and DHCP begins at .15", () => {
  const guests = (text: string) => {
    const { guest, firstLease } = natConfig(parse(text).nat);
    return [`${guest}`, `${firstLease}`];
  };
  assertEquals(guests("--netns x --configure"), ["10.0.2.100", "10.0.2.15"]);
  assertEquals(guests("--netns x"), ["10.0.2.100", "10.0.2.15"]);
  assertEquals(guests("--netns x --cidr 192.168.7.128/25"), ["192.168.7.228", "192.168.7.143"]);
  assertEquals(guests("--netns x --cidr 192.168.7.64/26"), ["192.168.7.79", "192.168.7.79"], "too small for .100");
  assertEquals(guests("--netns x --cidr 192.168.7.64/28"), ["192.168.7.68", "192.168.7.68"], "and for .15");
  assertEquals(guests("--netns x --cidr 172.16.0.0/12"), ["172.16.0.100", "172.16.0.15"]);
  assertEquals(guests("--qemu x"), ["10.0.2.15", "10.0.2.15"]);
});

Deno.test("netd takes a forward at any address; whether the machine has it is seen when it is opened", () => {
  for (const uplink of ["", " --uplink tap", " --uplink tun --uplink-nat"]) {
    for (const addr of ["127.0.0.1", "10.99.0.1", "10.99.0.2"]) {
      const forward = `tcp:${addr}:8081:80`;
      assertEquals(parse(`--netns x${uplink} --forward ${forward}`).forwards, [forward]);
    }
    assertThrows(() => parse(`--netns x${uplink} --forward tcp:80`), UsageError, "--forward");
  }
});

Deno.test("netd's flags with a value are true or false by it", () => {
  for (const no of ["no", "0", "off", "false"]) {
    const got = parse(`--netns x --restrict=${no} --disable-host-loopback=${no} --no-offload=${no} -c=${no}`);
    assertEquals([got.nat.policy!.restrict, got.nat.farLoopback, got.offload], [false, true, true], no);
    assertEquals(got.guest.kind === "netns" && got.guest.configure, false, no);
  }
  assertEquals(parse("--netns x --restrict=yes").nat.policy!.restrict, true);
  assertEquals(parse("--qemu x --configure=no").guest.kind, "qemu");
  assertThrows(() => parse("--netns x --restrict=never"), UsageError, 'Bad value "never" for --restrict');
});

Deno.test("netd's peer is by default the network's first address that is not ours", () => {
  assertEquals(parse("--netns x --uplink-address 192.0.2.1/30").uplink.peer, "192.0.2.2/30");
  assertEquals(parse("--netns x --uplink-address 192.0.2.9/24 --uplink-peer 192.0.2.8/24").uplink.gateway, "192.0.2.8");
  const attached = parse("--netns x --uplink-attach --uplink-device tap9 --uplink-gateway 10.99.0.254").uplink;
  assertEquals([attached.peer, attached.gateway], [null, "10.99.0.254"]);
  const policy = parse("--netns x --disable-host-loopback --deny tcp:*:25").nat.policy!;
  assertEquals(policy.deny, ["tcp:*:25", "*:10.99.0.1:*"]);
});

Deno.test("netd names the option that is bad", () => {
  const bad: [string, RegExp][] = [
    ["--quiet", /^Want one of --qemu, --qemu-dgram and --netns$/],
    ["--qemu a --netns b", /^Want one of --qemu, --qemu-dgram and --netns$/],
    ["--qemu a --qemu-dgram b", /^Want one of --qemu, --qemu-dgram and --netns$/],
    ["--qemu-dgram a --one-off", /^--one-off is for --qemu: datagrams have no end$/],
    ["--netns", /^No value after --netns$/],
    ["--qemu a --configure", /^--configure is for --netns$/],
    ["--netns a --one-off", /^--one-off is for --qemu$/],
    ["--netns a --uplink wifi", /"wifi" for --uplink: one of socket, tap, tun/],
    ["--netns a --uplink-attach", /--uplink-device NAME/],
    ["--netns a --uplink-address 10.0.0.1", /for --uplink-address: an address, a slash/],
    ["--netns a --mtu 65522", /for --mtu: a whole number of 576 to 65521/],
    ["--netns a --cidr 10.0.0.0/31", /"10\.0\.0\.0\/31" for --cidr: /],
    ["--netns a --search a..b", /"a\.\.b" for --search/],
    [`--netns a --search ${"x".repeat(64)}.test`, /for --search/],
    ["--netns a --dns x", /"x" for --dns: an IPv4 address/],
    ["--netns a --forward tcp:1", /"tcp:1" for --forward: Cannot read the forward/],
    ["--netns a --allow nonsense", /"nonsense" for --allow: Cannot read the rule/],
    ["--netns a --deny tcp:*:0x", /for --deny: /],
    ["--netns a --macaddress 01:00:00:00:00:01", /for --macaddress: a hardware address of one station/],
    ["--qemu a --userns-path /x", /^--userns-path is for --netns$/],
    ["--netns a --exit-fd x", /"x" for --exit-fd: /],
    ["--netns a b", /^Unexpected argument "b"$/],
    ["--nets a", /^Unknown option "--nets"$/],
    ["--netns a --socket-mode 999", /^Bad value "999" for --socket-mode: permissions in octal, such as 0660$/],
    ["--netns a --socket-mode rw", /--socket-mode/],
  ];
  for (const [text, wanted] of bad) assertMatch(assertThrows(() => parse(text), UsageError, "", text).message, wanted);
  assertEquals(new NetdGiven(["--help"]).information, helpText(NETD).trimEnd());
  for (const line of helpText(NETD).split("\n")) assertEquals(line.length <= 120, true, line);
});

/** A forward that is in force. */
function forwardOf(text: string): Forward {
  const spec = parseForward(text);
  const guest = newGuest(spec.guestAddr ?? IpAddr.v4(0x0a00020f));
  const map = newMap(guest, { proto: spec.proto, guestPort: spec.guestPort });
  map.hostPort = spec.hostPort;
  return { spec, map };
}

Deno.test("slirp4netns' API: list_hostfwd shows the forwards in force, natctl's included", () => {
  let forwards: Forward[] = [forwardOf("udp:127.0.0.1:4000-4009:4000")];
  const command = (text: string) => {
    const [verb, spec = ""] = text.split(" ");
    if (verb === "add") forwards.push(forwardOf(spec));
    else forwards = forwards.filter((one) => formatForward(one.spec) !== spec);
    return "ok\n";
  };
  const api = new SlirpApi(command, "10.0.2.15", () => forwards);
  const request = (execute: string, args: unknown) =>
    JSON.parse(api.answer(JSON.stringify({ execute, arguments: args })));
  const listed = () => request("list_hostfwd", {}).entries;
  request("add_hostfwd", { proto: "tcp", host_port: 8001, guest_port: 80 });
  const range = { proto: "udp", host_addr: "127.0.0.1", host_port: 4000, guest_port: 4000, count: 10 };
  const one = { proto: "tcp", host_addr: "0.0.0.0", host_port: 8001, guest_port: 80 };
  const guest_addr = "10.0.2.15";
  assertEquals(listed(), [{ id: 2, guest_addr, ...range }, { id: 1, guest_addr, ...one }]);
  forwards = [forwardOf("tcp:9000:90")];
  assertEquals(listed(), [{ id: 3, guest_addr, ...one, host_port: 9000, guest_port: 90 }]);
  assertEquals([listed().length, "error" in request("remove_hostfwd", { id: 1 })], [1, true], "natctl removed it");
  assertEquals(request("remove_hostfwd", { id: 3 }), { return: {} });
  assertEquals(listed(), []);
});

Deno.test("slirp4netns' API: a malformed request gets slirp4netns' own error", () => {
  const asked: string[] = [];
  const forwards: Forward[] = [];
  const api = new SlirpApi(
    (text) => {
      asked.push(text);
      if (asked.length > 1) return "error: Cannot forward it\n";
      forwards.push(forwardOf(text.replace("add ", "")));
      return "ok\n";
    },
    "10.0.2.15",
    () => forwards,
  );
  const good = { proto: "udp", host_port: 53, guest_port: 5353 };
  const request = (execute: unknown, args?: unknown) => api.answer(JSON.stringify({ execute, arguments: args }));
  const refused = (why: string) => `{"error":{"desc":"bad request: ${why}"}}`;
  assertEquals(request("add_hostfwd", good), '{"return":{"id":1}}');
  assertEquals(asked, ["add udp:0.0.0.0:53-:5353"], "for the guest there is");
  assertEquals(request("add_hostfwd", good), refused("add_hostfwd: Cannot forward it"));
  const entries = [{ id: 1, ...good, host_addr: "0.0.0.0", guest_addr: "10.0.2.15" }];
  assertEquals(JSON.parse(request("list_hostfwd")), { return: { entries }, entries });
  asked.length = 0;
  const empty = { ...good, host_addr: "", guest_addr: "" };
  assertEquals(request("add_hostfwd", empty), '{"return":{"id":2}}', "an empty address is none");
  assertEquals(request("add_hostfwd", { ...good, guest_addr: "10.0.2.77" }), refused("add_hostfwd: Cannot forward it"));
  assertEquals(asked, ["add udp:0.0.0.0:53-:5353", "add udp:0.0.0.0:53-10.0.2.77:5353"]);
  const bad: [string, unknown][] = [
    ["proto", { ...good, proto: "sctp" }],
    ["host_addr", { ...good, host_addr: "a b" }],
    ["guest_addr", { ...good, guest_addr: "1.2.3" }],
    ["host_port", { ...good, host_port: "53" }],
    ["guest_port", { ...good, guest_port: 0 }],
    ["proto", null],
    ["proto", 7],
  ];
  for (const [name, args] of bad) {
    assertEquals(request("add_hostfwd", args), refused(`add_hostfwd: bad arguments.${name}`));
  }
  for (const args of [{ id: 9 }, { id: "1" }, {}, undefined]) {
    assertEquals(request("remove_hostfwd", args), refused("remove_hostfwd: bad arguments.id"));
  }
  for (const text of ["", "[", "{"]) assertEquals(api.answer(text), refused("cannot parse JSON"));
  for (const text of ["null", "{}", '{"execute":7}']) assertEquals(api.answer(text), refused("no execute found"));
  assertEquals(request("fly"), refused("unknown execute"));
});

Deno.test("netd --ipv6: addresses of the uplink, of the guests' network, and name servers", () => {
  const parse = (...args: string[]) => options(["--netns", "g", ...args], () => resolvConf("9.9.9.9"));
  const usual = parse("--ipv6");
  assertEquals(usual.uplink.v6, { address: "fd99::2/64", peer: "fd99::1/64", gateway: "fd99::1" });
  assertEquals(usual.nat.v6, { hostAddr: "fd99::2/64" });
  assertEquals(parse("-6").uplink.v6, parse("--enable-ipv6").uplink.v6);
  assertEquals(parse().nat.v6, undefined);
  const all = ["--uplink-address6", "2001:db8::1/48", "--uplink-gateway6", "2001:db8::9", "--cidr6", "fd12::/64"];
  const { uplink, nat } = parse("--ipv6", ...all, "--dns", "2001:db8::53", "--disable-host-loopback");
  assertEquals(uplink.v6, { address: "2001:db8::1/48", peer: "2001:db8::2/48", gateway: "2001:db8::9" });
  assertEquals([nat.v6!.subnet, nat.nameServers], ["fd12::/64", ["2001:db8::53"]]);
  assertEquals(nat.policy!.deny, ["*:10.99.0.1:*", "*:[2001:db8::2]:*"]);
  const bad = [
    ["--cidr6", "fd12::/64"],
    ["--uplink-peer6", "fd99::1/64"],
    ["--ipv6", "--cidr6", "fd12::/48"],
    ["--ipv6", "--cidr6", "fd99::/64"],
    ["--ipv6", "--uplink-address6", "10.0.0.1/24"],
    ["--ipv6", "--uplink-gateway6", "10.0.0.1"],
    ["--ipv6", "--mtu", "1279"],
    ["--dns", "2001:db8::53"],
    ["--ipv6", "--allow", "tcp:[nonsense]:1"],
  ];
  for (const args of bad) assertThrows(() => parse(...args), UsageError);
});
