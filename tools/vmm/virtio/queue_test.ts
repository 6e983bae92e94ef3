import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { GuestMemory } from "./guest_memory.ts";
import { BUFFERS, HostileDriver, RAM_BASE, RAM_BYTES, TX, WRITE } from "../../../tests/kit/vmm/hostile_driver.ts";
import { DescChain, isQueueSize, VirtQueue } from "./queue.ts";

const HERE = RAM_BASE + BUFFERS;

/** A queue that is ready, and a driver that writes its rings. */
function readyQueue(options: { size?: number; indirect?: boolean; eventIdx?: boolean } = {}) {
  const { size = 8, indirect = false, eventIdx = false } = options;
  const ram = new Uint8Array(RAM_BYTES);
  const driver = new HostileDriver(ram, { read: () => 0, write: () => {} });
  driver.size = size;
  const queue = new VirtQueue(new GuestMemory([{ base: RAM_BASE, bytes: ram }]), 256);
  const { desc, avail, used } = driver.rings(TX);
  Object.assign(queue, { size, descAddr: desc, availAddr: avail, usedAddr: used });
  assertEquals(queue.enable({ indirect, eventIdx }), null);
  return { queue, driver, chain: new DescChain() };
}

Deno.test("VirtQueue.pop() answers a chain's readable and then its writable bytes", () => {
  const { queue, driver, chain } = readyQueue();
  driver.ram.set([1, 2, 3, 4, 5], BUFFERS);
  driver.chain(TX, 3, [{ addr: HERE, len: 2 }, { addr: HERE + 2, len: 3 }, { addr: HERE + 9, len: 4, flags: WRITE }]);
  assertEquals(queue.pop(chain), "empty");
  driver.offer(TX, 3);
  assertEquals(queue.pop(chain), "ok");
  assertEquals([chain.head, chain.readable.length, chain.writable.length], [3, 5, 4]);
  const bytes = new Uint8Array(5);
  chain.readable.copyOut(0, bytes, 0, 5);
  assertEquals([...bytes], [1, 2, 3, 4, 5]);
  assertEquals(queue.pop(chain), "empty");
});

Deno.test("VirtQueue.pop() follows a direct chain that ends in an indirect table (2.7.5.3.2)", () => {
  const { queue, driver, chain } = readyQueue({ size: 2, indirect: true });
  driver.indirect(TX, 1, HERE + 64, [{ addr: HERE, len: 2 }, { addr: HERE, len: 3 }, {
    addr: HERE,
    len: 4,
    flags: WRITE,
  }]);
  driver.describe(TX, 0, { addr: HERE, len: 1, flags: 1, next: 1 });
  driver.offer(TX, 0);
  // A table may be longer than the queue: Linux' driver makes such.
  assertEquals(queue.pop(chain), "ok");
  assertEquals([chain.readable.length, chain.writable.length, chain.head], [6, 4, 0]);
});

Deno.test("VirtQueue.pop() takes a chain of all descriptors, and not of one more (akaros.md 10.2, 11.35)", () => {
  const { queue, driver, chain } = readyQueue();
  const eight = Array.from({ length: 8 }, () => ({ addr: HERE, len: 1 }));
  driver.chain(TX, 0, eight);
  driver.offer(TX, 0);
  assertEquals([queue.pop(chain), chain.readable.count], ["ok", 8]);
  driver.describe(TX, 7, { addr: HERE, len: 1, flags: 1, next: 0 });
  driver.offer(TX, 0);
  assertEquals([queue.pop(chain), chain.readable.count], ["chain-loop", 8]);
});

Deno.test("VirtQueue.pop() takes a chain of 4 GiB, and not of one byte more (2.7.5.1)", () => {
  const bytes = new Uint8Array(0x40_0000 + 0x8000);
  const memory = new GuestMemory([{ base: 0, bytes }]);
  const queue = new VirtQueue(memory, 8);
  Object.assign(queue, { size: 1, descAddr: 0, availAddr: 64, usedAddr: 128 });
  assertEquals(queue.enable({ indirect: true, eventIdx: false }), null);
  const entries = 1024;
  memory.put64(0, 0x1000);
  memory.put32(8, 16 * entries);
  memory.put16(12, 4);
  for (let i = 0; i < entries; i++) {
    memory.put64(0x1000 + 16 * i, 0x6000);
    memory.put32(0x1000 + 16 * i + 8, 0x40_0000);
    memory.put16(0x1000 + 16 * i + 12, i === entries - 1 ? 0 : 1);
    memory.put16(0x1000 + 16 * i + 14, i + 1);
  }
  const chain = new DescChain();
  memory.put16(66, 1);
  assertEquals([queue.pop(chain), chain.readable.length], ["ok", 2 ** 32]);
  memory.put32(0x1000 + 8, 0x40_0001);
  memory.put16(66, 2);
  assertEquals(queue.pop(chain), "chain-length");
});

Deno.test("VirtQueue.unpop() puts chains back, and the guest notices nothing", () => {
  const { queue, driver, chain } = readyQueue();
  for (const head of [0, 1, 2]) driver.describe(TX, head, { addr: HERE, len: 1 + head });
  driver.offer(TX, 0, 1, 2);
  const before = driver.ram.slice();
  queue.pop(chain);
  queue.pop(chain);
  queue.unpop(2);
  assertEquals(driver.ram, before);
  assertEquals([queue.pop(chain), chain.head], ["ok", 0]);
});

Deno.test("VirtQueue.publish() shows all that was pushed at once, and honours NO_INTERRUPT (akaros.md 11.36)", () => {
  const { queue, driver } = readyQueue();
  queue.push(5, 100);
  queue.push(6, 200);
  assertEquals(driver.used(TX), []);
  assertEquals(queue.publish(), true);
  assertEquals(driver.used(TX), [{ id: 5, len: 100 }, { id: 6, len: 200 }]);
  assertEquals(queue.publish(), false, "Nothing new");
  driver.setAvailFlags(TX, 1);
  queue.push(7, 0);
  assertEquals([queue.publish(), driver.used(TX).length], [false, 1]);
});

Deno.test("VirtQueue.publish() looks at no flag but NO_INTERRUPT, and with EVENT_IDX at none (2.7.7.2)", () => {
  const plain = readyQueue();
  plain.driver.setAvailFlags(TX, 0xfffe);
  plain.queue.push(0, 0);
  assertEquals(plain.queue.publish(), true);
  const { queue, driver } = readyQueue({ eventIdx: true });
  driver.setAvailFlags(TX, 1);
  queue.push(0, 0);
  assertEquals(queue.publish(), true);
});

Deno.test("VirtQueue.publish() interrupts with EVENT_IDX when the used index passes the event, round 65536 too", () => {
  const { queue, driver } = readyQueue({ eventIdx: true });
  let idx = 0;
  const publish = (count: number): boolean => {
    for (let i = 0; i < count; i++) queue.push(0, 0);
    idx = (idx + count) & 0xffff;
    return queue.publish();
  };
  driver.setUsedEvent(TX, 2);
  assertEquals([publish(1), publish(1), publish(1), publish(1)], [false, false, true, false]);
  driver.setUsedEvent(TX, 7);
  assertEquals([publish(3), publish(2), publish(1)], [false, true, false]);
  while (idx < 65530) publish(8);
  driver.setUsedEvent(TX, 1);
  assertEquals([publish(65535 - idx), publish(2), publish(1)], [false, false, true]);
});

Deno.test("VirtQueue.wantNotify() asks by flag or event index, and reports buffers that came just then", () => {
  const plain = readyQueue();
  plain.queue.stopNotify();
  assertEquals(plain.driver.usedFlags(TX), 1);
  assertEquals([plain.queue.wantNotify(), plain.driver.usedFlags(TX)], [false, 0]);
  plain.driver.offer(TX, 0);
  assertEquals(plain.queue.wantNotify(), true);
  const { queue, driver, chain } = readyQueue({ eventIdx: true });
  driver.describe(TX, 0, { addr: HERE, len: 1 });
  driver.offer(TX, 0, 0, 0);
  for (let i = 0; i < 3; i++) queue.pop(chain);
  queue.stopNotify();
  assertEquals([queue.wantNotify(), driver.availEvent(TX), driver.usedFlags(TX)], [false, 3, 0]);
});

Deno.test("VirtQueue passes 200,000 buffers through rings of any size, round 65536 and back", () => {
  for (const size of [1, 2, 16, 256]) {
    const { queue, driver, chain } = readyQueue({ size, eventIdx: size === 16 });
    for (let i = 0; i < size; i++) driver.describe(TX, i, { addr: HERE, len: 1 + i });
    let sent = 0;
    for (let round = 0; sent < 50_000; round++) {
      const count = 1 + round % size;
      for (let i = 0; i < count; i++) driver.offer(TX, i);
      for (let i = 0; i < count; i++) {
        assertEquals(queue.pop(chain), "ok");
        queue.push(chain.head, sent++);
      }
      queue.publish();
      const used = driver.used(TX);
      assertEquals([used.length, used[0]!.id, used.at(-1)!.len], [count, 0, sent - 1]);
    }
  }
});

Deno.test("VirtQueue.reset() forgets everything: nothing of the old rings is looked at", () => {
  const { queue, driver, chain } = readyQueue();
  driver.offer(TX, 0, 1, 2);
  const epoch = queue.epoch;
  queue.push(1, 1);
  queue.reset();
  assertEquals([queue.ready, queue.size, queue.epoch], [false, 256, epoch + 1]);
  assertEquals([queue.pop(chain), queue.publish(), queue.wantNotify()], ["empty", false, false]);
});

Deno.test("VirtQueue.pop() never throws and never takes more than is offered, whatever the memory holds", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 512, maxLength: 512 }), fc.boolean(), fc.nat(3), (bytes, indirect, log) => {
      const memory = new GuestMemory([{ base: 0, bytes }]);
      const queue = new VirtQueue(memory, 8);
      Object.assign(queue, { size: 1 << log, descAddr: 0, availAddr: 128, usedAddr: 160 });
      assertEquals(queue.enable({ indirect, eventIdx: true }), null);
      // Mostly small numbers make mostly good chains.
      for (let i = 0; i < 128; i++) if (i % 16 > 1 && i % 16 !== 8 && i % 2 === 1) bytes[i] = 0;
      bytes[131] = 0;
      const chain = new DescChain();
      for (let taken = 0; queue.pop(chain) === "ok"; taken++) {
        queue.push(chain.head, taken);
        queue.publish();
        queue.wantNotify();
        if (taken > 70_000) throw new Error("Endless");
        if (taken > 300) break;
      }
    }),
    fuzz(300),
  );
});

Deno.test("isQueueSize() takes powers of two up to the largest (akaros.md 10.2, 11.34: 0 and 3 were taken)", () => {
  assertEquals([1, 2, 64, 256].map((size) => isQueueSize(size, 256)), [true, true, true, true]);
  assertEquals([0, 3, 63, 512, -1, 0xffffffff].some((size) => isQueueSize(size, 256)), false);
});
