/** Sockets of Linux for a process without any right: what it gets, and what it is refused. */

import { assertEquals } from "@std/assert";
import { writeSysctl } from "../../../devices/host/sysctl.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { ROUTED, Routed, ROUTED_NEEDS } from "../../kit/host/routed.ts";
import { made, message, SocketLab } from "../../kit/host/sockets.ts";
import { runAsNobody } from "../../kit/netd/rootless.ts";

const PORT = 7007;

machineTest("a user without rights connects, sends with TTL, TOS, DF and source, pings, and hears of errors", [
  ...ROUTED_NEEDS,
  ...["tool:setpriv", "tool:unshare"] as const,
], async () => {
  using routed = await Routed.make();
  routed.host.run(() => writeSysctl("net/ipv4/ping_group_range", "65534 65534"));
  await using world = new SocketLab({ netns: routed.world });
  for (const { version } of ROUTED) {
    made(world.sockets.listen({ version, address: null, port: PORT }));
    const echo = made(world.sockets.datagrams({ version, address: null, port: PORT }));
    echo.onReady = () => {
      echo.receive(({ from, payload }) => {
        echo.send([message(from, payload.slice(), { ttl: 33, tos: 0x2a })], 1);
      }, 64);
    };
  }
  const folder = await Deno.makeTempDir({ prefix: "akarino-sockets-" });
  const program = runAsNobody(routed.host.path, folder, ["tests/kit/host/nobody_sockets.ts"]);
  try {
    const { code } = await program.end();
    assertEquals(code, 0, program.text);
    const lines = program.text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
    const expected = ROUTED.map(({ version, router }) => ({
      // Ports below 1024 are for CAP_NET_BIND_SERVICE.
      binds: ["EACCES", "EACCES", "open", "open"],
      stream: "connected",
      hop: router,
      udp: ["hello", 32, 0x2a],
      report: [version === 4 ? "EHOSTUNREACH" : "ENETUNREACH", router],
      ping: 7,
      local: [true, false],
    }));
    assertEquals(lines, expected);
  } finally {
    program.kill("SIGKILL");
    await program.end();
    await Deno.remove(folder, { recursive: true });
  }
});
