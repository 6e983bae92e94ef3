/** What is said at start of machines on which a guest would not get through: an error or a warning, and its way out. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { HostInterface } from "../../devices/host/rtnetlink.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { NO_RESOLV_CONF } from "./resolv_conf.ts";
import { NetdGiven } from "./given.ts";
import { netdOptions } from "./options.ts";
import { checkMachine, checkNetworks, checkRoutes, type FamilyFacts, type MachineFacts } from "./start_checks.ts";
import type { DeviceUplink } from "./uplink_options.ts";

const device = (index: number, name: string, ...addresses: string[]): HostInterface => ({
  index,
  name,
  up: true,
  master: 0,
  addresses: addresses.map((text) => ({ addr: ip(text.split("/")[0]!), prefix: Number(text.split("/")[1]) })),
});
const LO = device(1, "lo", "127.0.0.1/8", "::1/128");
const ETH = device(2, "eth0", "192.0.2.2/24", "2001:db8:1::2/64", "fe80::2/64");
const AKA = device(3, "aka0", "10.99.0.1/24", "fd99::1/64");
const by = (index: number) => ({ kind: "unicast" as const, device: index, gateway: null });

function uplinkOf(...args: string[]): DeviceUplink {
  const given = new NetdGiven(["--netns", "g", "--uplink", "tap", ...args]);
  const { uplink } = netdOptions(given, () => NO_RESOLV_CONF);
  assert(uplink.kind !== "socket");
  return uplink;
}
const ATTACH = ["--uplink-attach", "--uplink-device", "aka0"];

/** The findings as `error: …` and `warning: …`. */
function lines(findings: { isError: boolean; text: string }[]): string[] {
  return findings.map(({ isError, text }) => `${isError ? "error" : "warning"}: ${text}`);
}

function machine(change: Partial<MachineFacts> & { four?: Partial<FamilyFacts>; six?: Partial<FamilyFacts> } = {}) {
  const { four, six, ...rest } = change;
  const good = { toHost: by(3), toWorld: by(2), fromHost: by(2), forwards: true, lostServers: [] };
  return {
    interfaces: [LO, ETH, AKA],
    uplink: "aka0",
    rules: null,
    v4: { ...good, ...four },
    v6: { ...good, ...six },
    ...rest,
  };
}

Deno.test("A network of the uplink that another interface has is an error that names a free one", () => {
  const check = (args: string[], ...others: HostInterface[]) =>
    lines(checkNetworks({ uplink: uplinkOf(...args), cidr: "10.0.2.0/24", cidr6: null }, [LO, ETH, ...others]));
  assertEquals(check([]), []);
  assertEquals(check(["-6"]), []);
  const taken = /^error: Cannot use 10\.99\.0\.2\/24 for the uplink: "tap0" of this machine has 10\.99\.0\.1\/24/;
  assertMatch(check([], device(5, "tap0", "10.99.0.1/24"))[0]!, taken);
  assertMatch(check([], device(5, "tap0", "10.99.0.1/24"))[0]!, /Use --uplink-address 10\.98\.0\.2\/24$/);
  const both = check([], device(5, "tap0", "10.99.0.1/24"), device(6, "tap1", "10.98.0.1/24"));
  assertMatch(both[0]!, /Use --uplink-address 10\.97\.0\.2\/24$/);
  assertMatch(check(["-6"], device(5, "tap0", "fd99::1/64"))[0]!, /^error: .* Use --uplink-address6 fd98::2\/64$/);
  assertEquals(check([], device(5, "tap0", "fd99::1/64")), [], "without --ipv6 it is of no account");
  const wide = check([], device(5, "wg0", "10.1.1.1/8"));
  assertMatch(wide[0]!, /^warning: this machine now reaches 10\.99\.0\.2\/24 by the uplink, not by "wg0"/);
  assertMatch(wide[1]!, /^warning: guests do not reach 10\.1\.1\.1\/8 of "wg0"/);
  assertEquals(check([], device(5, "wg0", "10.99.0.64/26", "10.99.0.9/32")), [], "a part without our address");
  assertMatch(check([], device(5, "wg0", "10.99.0.3/26"))[0]!, /^error: /, "a part with it");
  assertEquals(check(ATTACH, device(5, "aka0", "10.99.0.1/24")), [], "the uplink itself");
});

Deno.test("A network of guests that an interface has is a warning: what is in it they do not reach", () => {
  const check = (cidr: string, cidr6: string | null) =>
    lines(checkNetworks({ uplink: uplinkOf(), cidr, cidr6 }, [LO, ETH]));
  assertMatch(check("192.0.0.0/16", null)[0]!, /^warning: guests do not reach 192\.0\.2\.2\/24 of "eth0".* by --cidr$/);
  assertMatch(check("10.0.2.0/24", "2001:db8:1::/64")[0]!, /^warning: guests do not reach 2001:.* by --cidr6$/);
  assertEquals(check("10.0.2.0/24", "fe80::/64"), [], "link-local ones are every interface's");
});

Deno.test("A way to the host kernel that does not lead by the uplink is an error, or a warning if it may come", () => {
  const check = (args: string[], change: Parameters<typeof machine>[0]) =>
    lines(checkMachine(uplinkOf(...args), machine(change)));
  assertEquals(check(["-6"], {}), []);
  const other = [...ATTACH, "--uplink-address", "10.55.0.2/24"];
  const wrong = check(other, { four: { toHost: by(2) } });
  assertMatch(
    wrong[0]!,
    /^error: Cannot use 10\.55\.0\.2\/24 .* reaches 10\.55\.0\.2 by "eth0", not by "aka0", .* 10\.99\.0\.1\/24/,
  );
  assertMatch(
    check(other, { four: { toHost: 101 } })[0]!,
    /^error: .* this machine has no route to 10\.55\.0\.2, not by "aka0"/,
  );
  const own = { kind: "local" as const, device: 1, gateway: null };
  const ours = check([...ATTACH, "--uplink-address", "10.99.0.1/24"], { four: { toHost: own } });
  assertEquals(ours, ['error: Cannot use 10.99.0.1 for the host kernel: this machine has it itself, on "aka0"']);
  assertMatch(check(["-6"], { six: { toHost: by(2) } })[0]!, /^error: Cannot use fd99::2\/64 .* which has fd99::1\/64/);
  const bare = check(ATTACH, { interfaces: [LO, ETH, device(3, "aka0")], four: { toHost: by(2) } });
  assertMatch(bare[0]!, /^warning: .* "aka0" has no address.*: ip addr add 10\.99\.0\.1\/24 dev aka0$/);
  const down = check(ATTACH, { interfaces: [LO, ETH, { ...AKA, up: false }], four: { toHost: by(2) } });
  assertEquals(down, ['warning: "aka0" is down, so no packet passes: ip link set aka0 up']);
  const bridge = [LO, ETH, { ...device(3, "aka0"), master: 4 }, device(4, "br0", "10.99.0.1/24")];
  assertEquals(check(ATTACH, { interfaces: bridge, four: { toHost: by(4) } }), []);
  assertEquals(check(ATTACH, { interfaces: bridge, four: { toHost: by(2) } }), [], "a bridge without our network");
});

Deno.test("A machine that does not forward is a warning with the setting, if the gateway is that machine", () => {
  const check = (args: string[], change: Parameters<typeof machine>[0]) =>
    lines(checkMachine(uplinkOf(...args), machine(change)));
  assertMatch(check([], { four: { forwards: false } })[0]!, /^warning: .* sysctl -w net\.ipv4\.ip_forward=1$/);
  assertMatch(check(["-6"], { six: { forwards: false } })[0]!, /^warning: .* net\.ipv6\.conf\.all\.forwarding=1$/);
  assertEquals(check([], { six: { forwards: false } }), [], "IPv6 was not asked for");
  assertEquals(check([], { four: { forwards: null } }), [], "it may not be read");
  assertEquals(check([...ATTACH, "--uplink-gateway", "10.99.0.254"], { four: { forwards: false } }), []);
  assertMatch(check([], { four: { fromHost: 18 } })[0]!, /^warning: .* forwards no packet of 10\.99\.0\.2 from "aka0"/);
  assertMatch(check([], { four: { lostServers: ["10.1.1.53"] } })[0]!, /no route to the name server 10\.1\.1\.53$/);
});

Deno.test("Firewall rules that stop the guest are warnings with the rules that mend it", () => {
  const base = (hook: string, type: string, policy: string) => ({
    chain: { family: "ip", table: "t", name: hook, hook, type, policy },
  });
  const check = (...nftables: unknown[]) =>
    lines(checkMachine(uplinkOf(), machine({ rules: JSON.stringify({ nftables }) })));
  const rule = { family: "ip", table: "t", chain: "postrouting", expr: [{ masquerade: null }] };
  const nat = [base("postrouting", "nat", "accept"), { rule }];
  assertEquals(check(...nat), []);
  assertMatch(
    check()[0]!,
    /^warning: no rule .* translates 10\.99\.0\.2.* saddr 10\.99\.0\.0\/24 oifname != aka0 masq/,
  );
  const forward = check(...nat, base("forward", "filter", "drop"));
  assertMatch(
    forward[0]!,
    /^warning: the chain ip t forward drops .*: nft insert rule ip t forward iifname aka0 accept;/,
  );
  const input = check(...nat, base("input", "filter", "drop"));
  assertMatch(input[0]!, /^warning: the chain ip t input drops .* itself: nft insert rule ip t input iifname aka0 acc/);
  const offline = machine({ rules: '{"nftables":[]}', four: { toWorld: 101, fromHost: null } });
  assertEquals(lines(checkMachine(uplinkOf(), offline)), [], "without a world there is nothing to translate for");
});

Deno.test("On a machine without a default route, sockets reach its own networks only", () => {
  const good = { toWorld: by(2), lostServers: [] };
  assertEquals(lines(checkRoutes({ v4: good, v6: good })), []);
  assertEquals(lines(checkRoutes({ v4: { ...good, toWorld: 101 }, v6: null })), [
    "warning: this machine has no default route of IPv4, so guests reach only its own networks",
  ]);
  assertEquals(lines(checkRoutes({ v4: good, v6: { toWorld: 101, lostServers: ["2001:db8::53"] } })), [
    "warning: this machine has no default route of IPv6, so guests reach only its own networks",
    "warning: this machine has no route to the name server 2001:db8::53",
  ]);
});
