/** Addresses of ctl commands. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { IP_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { parseLocal, parseRemote } from "./conv_address.ts";

const plain = { port: 0, portEnd: 0, star: false, restricted: false };

Deno.test("parseLocal() reads a port, a star, and both with an address or !r", () => {
  assertEquals(parseLocal("7"), { ...plain, addr: IP_UNSPECIFIED, port: 7, portEnd: 7 });
  assertEquals(parseLocal("*"), { ...plain, addr: IP_UNSPECIFIED, star: true });
  assertEquals(parseLocal("*!*"), { ...plain, addr: IP_UNSPECIFIED, star: true });
  assertEquals(parseLocal("*!0!r"), { ...plain, addr: IP_UNSPECIFIED, restricted: true });
  assertEquals(parseLocal("10.0.0.1!80").addr.toString(), "10.0.0.1");
  assertEquals(parseLocal("2001:db8::1!80").addr.toString(), "2001:db8::1");
});

Deno.test("parseLocal() takes 0.0.0.0 and :: for any address", () => {
  assertEquals(parseLocal("0.0.0.0!7").addr, IP_UNSPECIFIED);
  assertEquals(parseLocal("::!7").addr, IP_UNSPECIFIED);
});

Deno.test("parseLocal() reads a range only where one may stand, and only one that goes up from 1", () => {
  assertEquals(parseLocal("*!100-200", { ranges: true }), {
    ...plain,
    addr: IP_UNSPECIFIED,
    port: 100,
    portEnd: 200,
  });
  for (const text of ["200-100", "0-5", "1-65536", "1-"]) {
    assertEquals(refusalCode(() => parseLocal(text, { ranges: true })), "EINVAL");
  }
  assertEquals(refusalCode(() => parseLocal("100-200")), "EINVAL");
});

Deno.test("parseLocal() refuses what Akaros' atoi took for port 0", () => {
  for (const text of ["", "x", "7x", "65536", "-1", "10.0.0.1", "10.0.0.1!", "10.0.0!7", "a!b!c!d", "*!7!q"]) {
    assertEquals(refusalCode(() => parseLocal(text)), "EINVAL", text);
  }
});

Deno.test("parseRemote() wants an address and a port, and for ICMP any text after the bang", () => {
  assertEquals(parseRemote("10.0.0.2!53").port, 53);
  assertEquals(refusalCode(() => parseRemote("10.0.0.2")), "EFAIL");
  assertEquals(refusalCode(() => parseRemote("10.0.0.2!0")), "EINVAL");
  assertEquals(refusalCode(() => parseRemote("*!53")), "EINVAL");
  assertEquals(parseRemote("10.0.0.2!x", { anyPort: true }).port, 0);
});

Deno.test("parseLocal() and parseRemote() throw nothing but KernelError", () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.:*!r-]{0,30}$/));
  fc.assert(
    fc.property(texts, (text) => {
      for (const parse of [() => parseLocal(text, { ranges: true }), () => parseRemote(text)]) {
        try {
          const { port } = parse();
          assert(port >= 0 && port <= 65535);
        } catch (error) {
          assert(error instanceof KernelError);
        }
      }
    }),
    fuzz(300),
  );
});
