/** The machine's resolv.conf while netd runs: files of the test's own, changed in every way that is in use. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { ResolvFiles } from "../../../tools/netd/resolv_files.ts";

async function withFolder(use: (folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const SERVERS = { a: "192.0.2.5", b: "192.0.2.6" };
const text = (addr: string) => `nameserver ${addr}\n`;

Deno.test("resolv.conf is followed: written again, renamed into place, behind another link, missing", async () => {
  await withFolder((folder) => {
    const path = `${folder}/resolv.conf`;
    const servers = (conf: ReturnType<ResolvFiles["changed"]>) => conf?.nameServers ?? null;
    Deno.writeTextFileSync(path, text("192.0.2.1"));
    const files = new ResolvFiles([path, `${folder}/other`]);
    assertEquals([servers(files.read()), servers(files.changed())], [["192.0.2.1"], null]);
    Deno.writeTextFileSync(path, text("192.0.2.22"));
    assertEquals([servers(files.changed()), servers(files.changed())], [["192.0.2.22"], null]);
    // As NetworkManager and resolvconf do it.
    Deno.writeTextFileSync(`${folder}/new`, text("192.0.2.33"));
    Deno.renameSync(`${folder}/new`, path);
    assertEquals(servers(files.changed()), ["192.0.2.33"]);
    Deno.removeSync(path);
    assertEquals(servers(files.changed()), null, "the old ones are kept");
    Deno.writeTextFileSync(path, "");
    assertEquals(servers(files.changed()), null, "it is being written");
    Deno.writeTextFileSync(path, text("192.0.2.44"));
    assertEquals(servers(files.changed()), ["192.0.2.44"]);
    for (const name of ["a", "b"] as const) Deno.writeTextFileSync(`${folder}/${name}`, text(SERVERS[name]));
    Deno.symlinkSync("a", `${folder}/link`);
    Deno.renameSync(`${folder}/link`, path);
    assertEquals(servers(files.changed()), ["192.0.2.5"]);
    Deno.symlinkSync("b", `${folder}/link`);
    Deno.renameSync(`${folder}/link`, path);
    assertEquals(servers(files.changed()), ["192.0.2.6"]);
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    assertEquals(servers(files.changed()), null, "a directory is no reason to end");
  });
});

Deno.test("resolv.conf that is there and cannot be read is an error that names it; none is none", async () => {
  await withFolder((folder) => {
    assertEquals(new ResolvFiles([`${folder}/none`]).read().nameServers, []);
    Deno.symlinkSync("loop", `${folder}/loop`);
    Deno.writeTextFileSync(`${folder}/long`, "#".repeat(70_000));
    for (const path of [folder, `${folder}/loop`, `${folder}/long`, "/dev/null"]) {
      const error = assertThrows(() => new ResolvFiles([path]).read(), KernelError);
      assertEquals([path, error.message.includes(path)], [path, true]);
    }
  });
});
