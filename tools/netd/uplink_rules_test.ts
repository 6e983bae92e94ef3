/** The rules of --uplink-nat, and that what was set is taken away. */

import { assertEquals, assertThrows } from "@std/assert";
import { HostError } from "../../devices/host/libc.ts";
import { KernelError } from "../../kernel/error.ts";
import { parseForward } from "../nat/forward.ts";
import { UplinkRules } from "./uplink_rules.ts";

const UPLINK = {
  device: "aka0",
  v4: { address: "10.99.0.2/24", peer: "10.99.0.1/24", gateway: "10.99.0.1" },
  v6: { address: "fd99::2/64", peer: "fd99::1/64", gateway: "fd99::1" },
};

/** Sets rules with an nft that takes all, on a machine that forwards already; `ran` is what it was given. */
function rulesOf(uplink: typeof UPLINK | (Omit<typeof UPLINK, "v6"> & { v6: null })) {
  const ran: string[] = [];
  const nft = (commands: readonly string[]) => {
    ran.push(...commands);
    return "";
  };
  return { rules: new UplinkRules(uplink, nft, <T>(_work: () => T) => undefined as T), ran };
}

Deno.test("--uplink-nat makes its table afresh and translates both versions of IP", () => {
  assertEquals(rulesOf(UPLINK).ran, [
    "add table inet netd-aka0",
    "delete table inet netd-aka0",
    "add table inet netd-aka0",
    "add chain inet netd-aka0 post { type nat hook postrouting priority srcnat; }",
    "add chain inet netd-aka0 pre { type nat hook prerouting priority dstnat; }",
    "add chain inet netd-aka0 out { type nat hook output priority -100; }",
    'add rule inet netd-aka0 post ip saddr 10.99.0.0/24 oifname != "aka0" masquerade',
    'add rule inet netd-aka0 post ip saddr 127.0.0.0/8 oifname "aka0" masquerade',
    'add rule inet netd-aka0 post ip6 saddr fd99::/64 oifname != "aka0" masquerade',
    'add rule inet netd-aka0 post ip6 saddr ::1 oifname "aka0" masquerade',
  ]);
});

Deno.test("A forward of --uplink-nat is a port of the machine, for others and for itself", () => {
  const { rules, ran } = rulesOf(UPLINK);
  const forward = (text: string, port: number) => {
    ran.length = 0;
    rules.open(parseForward(text), port);
    return ran.map((one) => one.replace(/ comment .*/, ""));
  };
  const one = "fib daddr type local tcp dport 8080 dnat ip to 10.99.0.2:8080";
  assertEquals(forward("tcp:8080:80", 8080), [
    `add rule inet netd-aka0 pre iifname != "aka0" meta nfproto ipv4 ${one}`,
    `add rule inet netd-aka0 out meta nfproto ipv4 ip daddr != 127.0.0.0/8 ${one}`,
  ], "but for its loopback");
  const range = "meta nfproto ipv4 ip daddr 192.0.2.1 udp dport 4000-4009 dnat ip to 10.99.0.2";
  assertEquals(forward("udp:192.0.2.1:4000-4009:4000", 4000)[1], `add rule inet netd-aka0 out ${range}`);
  const six = "meta nfproto ipv6 ip6 daddr != ::1 fib daddr type local tcp dport 80 dnat ip6 to [fd99::2]:81";
  assertEquals(forward("tcp::80-[fd00:0:0:2::f]:80", 81)[1], `add rule inet netd-aka0 out ${six}`);
  const without = rulesOf({ ...UPLINK, v6: null });
  without.ran.length = 0;
  without.rules.open(parseForward("tcp::80-[fd00::f]:80"), 80);
  assertEquals(without.ran, []);
});

Deno.test("A rule that nft refuses is an error with nft's words", () => {
  const inside = <T>(work: () => T) => work();
  const none = () => assertThrows(() => new UplinkRules(UPLINK, () => "Operation not permitted", inside), HostError);
  assertEquals(none().message.includes("Operation not permitted"), true);
  const ran: string[] = [];
  const rules = new UplinkRules(UPLINK, (commands) => {
    ran.push(...commands);
    return commands.some((one) => one.includes("dport 81")) ? "syntax error" : "";
  }, <T>(_work: () => T) => undefined as T);
  rules.open(parseForward("tcp:80:80"), 80);
  rules.open(parseForward("tcp:82:82"), 82);
  assertThrows(() => rules.open(parseForward("tcp:81:81"), 81), KernelError, "tcp:81:81: syntax error");
  ran.length = 0;
  rules.close(parseForward("tcp:80:80"));
  assertEquals(ran.filter((one) => one.includes("dport")).map((one) => /dport (\d+)/.exec(one)![1]), ["82", "82"]);
  ran.length = 0;
  rules.end();
  assertEquals(ran, ["delete table inet netd-aka0"]);
});
