/** Who answers a neighbour solicitation, and to whom. */

import { assertEquals } from "@std/assert";
import { ICMP6_NEIGHBOR_ADVERT, ICMP6_NEIGHBOR_SOLICIT } from "../../../kernel/wire/icmp6.ts";
import { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { answerNeighbor, neighborQuestion } from "./neighbor.ts";

const mac = new MacAddr(2, 1);
const target = ip("fd00:0:0:2::2");
const solicit = { type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac: null } as const;

Deno.test("A question is answered to its sender, and marked as solicited", () => {
  const { dst, advert } = answerNeighbor(solicit, ip("fd00:0:0:2::15"), { mac, isRouter: true });
  assertEquals(`${dst}`, "fd00:0:0:2::15");
  assertEquals(advert, {
    type: ICMP6_NEIGHBOR_ADVERT,
    target,
    isRouter: true,
    solicited: true,
    override: true,
    targetMac: mac,
  });
});

Deno.test("A probe, which has no sender, is answered to all nodes (RFC 4861 7.2.4)", () => {
  const { dst, advert } = answerNeighbor(solicit, ip("::"), { mac, isRouter: false });
  assertEquals({ dst: `${dst}`, solicited: advert.solicited, isRouter: advert.isRouter }, {
    dst: "ff02::1",
    solicited: false,
    isRouter: false,
  });
});

Deno.test("The router's own question names its hardware address", () => {
  assertEquals(neighborQuestion(mac, target), { type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac: mac });
});
