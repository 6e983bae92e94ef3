/** The records before payloads of headers mode. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { addrPairs, u16 } from "../../../tests/kit/ip/wire.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { getRecord, HeaderMode, putRecord, recordLen } from "./udp_headers.ts";

Deno.test("putRecord() writes 52 bytes that getRecord() reads back, and 36 without the interface", () => {
  assertEquals([recordLen(HeaderMode.None), recordLen(HeaderMode.Headers), recordLen(HeaderMode.OldHeaders)], [
    0,
    52,
    36,
  ]);
  fc.assert(
    fc.property(addrPairs, addrPairs, u16, u16, ([raddr, laddr], [ifcAddr], rport, lport) => {
      const buf = new Uint8Array(60);
      const ends = { raddr, laddr, ifcAddr, rport, lport };
      putRecord(HeaderMode.Headers, ends, buf, 4);
      assertEquals(getRecord(HeaderMode.Headers, buf, 4), ends);
      assertEquals(buf.subarray(56), new Uint8Array(4));
      const old = new Uint8Array(40);
      putRecord(HeaderMode.OldHeaders, ends, old, 0);
      assertEquals(getRecord(HeaderMode.OldHeaders, old, 0), { ...ends, ifcAddr: laddr });
      assertEquals(old.subarray(36), new Uint8Array(4));
    }),
    fuzz(50),
  );
});
