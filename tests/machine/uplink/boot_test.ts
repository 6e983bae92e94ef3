/**
 * A guest that comes up after netd: callers of its forward wait for it, as those of a machine that boots.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { HOST, openUplinkLab, uplinkNeeds } from "../../kit/uplink/lab.ts";
import { untilReady } from "../../kit/netd/netd.ts";
import { machineTest } from "../../kit/check/skip.ts";

const BYTES = 100_000;
/** The guest's interface is netd's, and the guest sets it up itself. */
const BOOT = `
  ip addr add 10.0.2.15/24 dev tap0
  ip link set tap0 up
  ip route add default via 10.0.2.2
`;

machineTest("socket uplink: a call to a guest that still boots is answered once it is up", uplinkNeeds(), async () => {
  await using lab = await openUplinkLab({ noNetd: true });
  const forward = ["--forward", "tcp::8009-10.0.2.15:9"];
  lab.netd = await untilReady(lab.startNetd("--netns", lab.guest.path, ...forward));
  // It listens before it can be reached: the first call that comes is to be answered.
  await lab.serve("guest");
  const plays = [{ id: "boot", client: [["drain"]], server: [["send", BYTES], ["close"]] }];
  const played = lab.peer("world", ["play", HOST[4], 8009], plays);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await lab.must("guest", `set -e\n${BOOT}`);
  assertEquals(await played, [{ id: "boot", got: BYTES, end: "eof" }]);
});
