import { assertEquals, assertRejects } from "@std/assert";
import { GuestConsole } from "./console.ts";

const encoder = new TextEncoder();

/** A console, and what it sends. */
function fake(): { line: GuestConsole; sent: string[]; says: (text: string) => void } {
  const sent: string[] = [];
  const line = new GuestConsole((text) => sent.push(text));
  return { line, sent, says: (text) => line.feed(encoder.encode(text)) };
}

Deno.test("GuestConsole runs commands when the guest is ready, and separates their outputs", async () => {
  const { line, sent, says } = fake();
  const first = line.run("echo a; false");
  const second = line.run("printf b");
  assertEquals(sent, []);
  says("SeaBIOS\r\nakarino: rea");
  says("dy 3.14\r\n");
  await line.ready;
  assertEquals([line.bootMs, await Promise.resolve(sent)], [3140, ["1 echo a; false\n", "2 printf b\n"]]);
  says("akarino: 1 run\nécho a\n\nakarino: 1 exit 1\n[ 5.1] a kernel's word\nakarino: 2 run\nb\nakarino: 2 exit 0\n");
  assertEquals(await first, { code: 1, text: "écho a\n" });
  assertEquals(await second, { code: 0, text: "b" });
});

Deno.test("GuestConsole takes bytes cut anywhere, inside characters as well", async () => {
  const { line } = fake();
  const all = encoder.encode("akarino: ready 1.00\nakarino: 1 run\ngrüße\n\nakarino: 1 exit 0\n");
  const answer = line.run("x");
  for (const byte of all.subarray(0, 20)) line.feed(new Uint8Array([byte]));
  await line.ready;
  await Promise.resolve();
  for (const byte of all.subarray(20)) line.feed(new Uint8Array([byte]));
  assertEquals(await answer, { code: 0, text: "grüße\n" });
});

Deno.test("GuestConsole: a command without output, and one that prints an empty line", async () => {
  const { line, says } = fake();
  says("akarino: ready 1.00\n");
  const silent = line.run("true");
  const empty = line.run("echo");
  await line.ready;
  says("akarino: 1 run\n\nakarino: 1 exit 0\nakarino: 2 run\n\n\nakarino: 2 exit 0\n");
  assertEquals([(await silent).text, (await empty).text], ["", "\n"]);
});

Deno.test("GuestConsole: the guest's end ends everything that waits, with its last words", async () => {
  const { line, says } = fake();
  says("akarino: ready 1.00\n");
  const waiting = line.run("sleep 100");
  await line.ready;
  says("Kernel panic\n");
  line.end("QEMU ended");
  await assertRejects(() => waiting, Error, "QEMU ended\n--- console ---\nakarino: ready 1.00\nKernel panic");
  await assertRejects(() => line.run("true"), Error, "The guest ended");
  const early = fake();
  early.line.end("no such file");
  await assertRejects(() => early.line.ready, Error, "no such file");
});

Deno.test("GuestConsole: limits of time and length", async () => {
  const { line, says } = fake();
  says("akarino: ready 1.00\n");
  await assertRejects(() => line.run("sleep 100", 1), Error, '"sleep 100" was not done after 1 ms');
  says("akarino: 1 run\nlate\nakarino: 1 exit 0\n");
  await assertRejects(() => line.run("a\nb"), TypeError, "one line");
  await assertRejects(() => line.run("x".repeat(4001)), TypeError, "one line");
  says("y".repeat(300_000));
  assertEquals(line.text.length, 256 * 1024);
});
