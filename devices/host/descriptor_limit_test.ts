import { assert, assertEquals } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { raiseDescriptorLimit } from "./descriptor_limit.ts";

machineTest("raiseDescriptorLimit() raises the soft limit to the hard one", ["ffi", "tool:sh"], async () => {
  const code = `import { raiseDescriptorLimit } from "${import.meta.resolve("./descriptor_limit.ts")}";
    console.log(raiseDescriptorLimit(), raiseDescriptorLimit());
    const own = Deno.readTextFileSync("/proc/self/limits");
    console.log(/Max open files +(\\d+) +(\\d+)/.exec(own).slice(1).join(" "));`;
  const line = 'ulimit -S -n 300; ulimit -H -n 900; exec "$1" run --no-prompt -A --ext=ts -';
  const child = new Deno.Command("sh", { args: ["-c", line, "sh", Deno.execPath()], stdin: "piped", stdout: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(code));
  await writer.close();
  const { stdout } = await child.output();
  assertEquals(new TextDecoder().decode(stdout), "900 900\n900 900\n");
  assert(raiseDescriptorLimit() >= 64);
});
