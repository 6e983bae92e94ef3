import { assertEquals } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { netnsExec } from "../../tests/kit/host/netns.ts";
import type { LinkState } from "./link_states.ts";
import { LinkWatch } from "./link_watch.ts";
import { NetDevice } from "./netdev.ts";
import { holdNetns } from "./netns.ts";

machineTest(
  "LinkWatch reports an interface that went down and up between two polls",
  ["root", "netns", "ffi"],
  async () => {
    using netns = holdNetns();
    const states: (LinkState | null)[] = [];
    const device = netns.run(() => new NetDevice("lo"));
    const watch = new LinkWatch(device, netns, (state) => states.push(state));
    try {
      await netnsExec(netns, ["sh", "-c", "ip link set lo down; ip link set lo up mtu 1400"]);
      watch.drain(100);
      assertEquals(states[0]?.up, false);
      assertEquals(states.at(-1), { up: true, mtu: 1400 });
    } finally {
      watch.close();
      device.close();
    }
  },
);
