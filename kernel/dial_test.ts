/** Dial strings; the dance itself is tested over #ip in tests/stories. */

import { assertEquals, assertThrows } from "@std/assert";
import { netMkAddr, parseDialString } from "./dial.ts";
import { KernelError } from "./error.ts";

Deno.test("parseDialString finds the directory, the protocol and the rest", () => {
  assertEquals(parseDialString("udp!10.0.0.1!7"), { netDir: "/net", proto: "udp", rest: "10.0.0.1!7" });
  assertEquals(parseDialString("#ip.2/udp!*!7"), { netDir: "#ip.2", proto: "udp", rest: "*!7" });
  assertEquals(parseDialString("/net.alt/tcp!h!80!r"), { netDir: "/net.alt", proto: "tcp", rest: "h!80!r" });
  assertEquals(parseDialString("udp!7"), { netDir: "/net", proto: "udp", rest: "7" });
});

Deno.test("parseDialString refuses a text without protocol or address, and reports how it should read", () => {
  for (const text of ["", "udp", "!7", "/net/!7"]) {
    assertEquals(assertThrows(() => parseDialString(text), KernelError, "proto!host!service").code, "EINVAL");
  }
});

Deno.test("netMkAddr fills in what is missing", () => {
  assertEquals(netMkAddr("10.0.0.1", "udp", "7"), "udp!10.0.0.1!7");
  assertEquals(netMkAddr("tcp!10.0.0.1", "udp", "7"), "tcp!10.0.0.1!7");
  assertEquals(netMkAddr("10.0.0.1!9", "udp", ""), "udp!10.0.0.1!9");
  assertEquals(netMkAddr("tcp!10.0.0.1!9", "udp", "7"), "tcp!10.0.0.1!9");
});
