/** Reports and queries of multicast listener discovery. */

import { assertEquals } from "@std/assert";
import { put16 } from "./bytes.ts";
import { parseIpAddr } from "./ip_addr.ts";
import { emitMldReport, mldQueryDelayMs, MldRecord, mldReportLen } from "./mld.ts";

Deno.test("emitMldReport() writes a record for each group (RFC 3810 5.2)", () => {
  const groups = ["ff02::fb", "ff02::1:ff00:1"].map((text) => parseIpAddr(text)!);
  const buf = new Uint8Array(50).fill(0xee);
  assertEquals([emitMldReport(MldRecord.ToExclude, groups, buf, 1), mldReportLen(2)], [48, 48]);
  assertEquals(buf.subarray(0, 13), Uint8Array.of(0xee, 143, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0));
  assertEquals(buf.subarray(13, 15), Uint8Array.of(0xff, 2));
  assertEquals([buf[28], buf[29], buf[33], buf[48], buf[49]], [0xfb, 4, 0xff, 1, 0xee]);
});

Deno.test("mldQueryDelayMs() reads the maximum response code in both its forms", () => {
  const query = new Uint8Array(28);
  query[0] = 130;
  const delay = (code: number) => {
    put16(query, 4, code);
    return mldQueryDelayMs(query, 0, 28);
  };
  assertEquals([delay(0), delay(1000), delay(0x7fff), delay(0x8000), delay(0xffff)], [0, 1000, 32767, 32768, 8387584]);
  assertEquals(mldQueryDelayMs(query, 0, 23), -1);
  query[1] = 1;
  assertEquals(mldQueryDelayMs(query, 0, 28), -1);
  query[0] = 131;
  assertEquals(mldQueryDelayMs(query, 0, 28), -1);
});
