/**
 * Medium `loopback`: what is sent comes in again.
 *
 * Path: ipifc_proto → loopback_medium → loopback_queue, medium, route.
 *
 * @module
 */

import { LOOPBACK_OFFLOADS, LoopbackQueue } from "./loopback_queue.ts";
import type { Medium } from "./medium.ts";
import { LOOPBACK_MTU } from "../route/route.ts";

/** `bind loopback NAME`; the name is for people, and `loopback` if left out. */
export const loopbackMedium: Medium = {
  name: "loopback",
  headerLen: 0,
  mtuMin: 0,
  mtuMax: LOOPBACK_MTU,
  keeps: true,
  bind(ifc, args) {
    const queue = new LoopbackQueue(ifc);
    return {
      device: args[0] ?? "loopback",
      offloads: LOOPBACK_OFFLOADS,
      isLoopback: true,
      write: (block) => queue.push(block),
      unbind: () => queue.flush(),
    };
  },
};
