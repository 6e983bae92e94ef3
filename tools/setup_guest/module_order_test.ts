/**
 * Which modules go in, and in which order.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { dependencies, inOrder } from "./module_order.ts";

Deno.test("dependencies() reads a module's own words", () => {
  const module = (text: string) => new TextEncoder().encode(`\x7fELF\0license=GPL\0${text}\0name=x\0`);
  assertEquals(dependencies(module("depends=virtio_ring,net-failover")), ["virtio_ring", "net_failover"]);
  assertEquals(dependencies(module("depends=")), []);
  assertEquals(dependencies(module("softdepends=a")), []);
});

Deno.test("inOrder() puts each after what it needs, once, and survives a cycle", async () => {
  const needs: Record<string, string[]> = {
    net: ["ring", "virtio", "fail"],
    virtio: ["ring"],
    fail: ["fail"],
    a: ["b"],
    b: ["a"],
  };
  const order = (...wanted: string[]) => inOrder(wanted, (name) => Promise.resolve(needs[name] ?? []));
  assertEquals(await order("virtio", "net"), ["ring", "virtio", "fail", "net"]);
  assertEquals(await order("net"), ["ring", "virtio", "fail", "net"]);
  assertEquals(await order("a"), ["b", "a"]);
});
