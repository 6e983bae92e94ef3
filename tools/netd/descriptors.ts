/**
 * Checks the descriptors of netd's caller, before anything else: a wrong number may be one of Deno's own descriptors,
 * and a write would disturb its reader.
 *
 * Path: netd → descriptors → devices/host/descriptor.
 *
 * @module
 */

import { describeDescriptor, type Descriptor } from "../../devices/host/descriptor.ts";
import { bad } from "../options/given.ts";
import type { NetdOptions } from "./options.ts";

/** File kinds that can be written, and those whose closed end poll(2) reports. */
const WRITABLE: readonly Descriptor["kind"][] = ["pipe", "socket", "file", "character device"];
const WATCHABLE: readonly Descriptor["kind"][] = ["pipe", "socket", "anonymous"];

/** Throws HostError or UsageError, which name the option, unless the descriptors fit their use. */
export function checkDescriptors({ readyFd, exitFd }: Pick<NetdOptions, "readyFd" | "exitFd">): void {
  if (readyFd !== null) {
    const { kind, canWrite } = look("ready-fd", readyFd);
    if (!WRITABLE.includes(kind)) throw bad("ready-fd", `${readyFd}`, `a pipe or socket is needed, not a ${kind}`);
    if (!canWrite) throw bad("ready-fd", `${readyFd}`, `this ${kind} cannot be written`);
  }
  if (exitFd !== null) {
    const { kind } = look("exit-fd", exitFd);
    if (!WATCHABLE.includes(kind)) throw bad("exit-fd", `${exitFd}`, `a pipe or socket is needed, not a ${kind}`);
  }
}

function look(name: string, fd: number): Descriptor {
  const descriptor = describeDescriptor(fd, `Cannot use descriptor ${fd} of --${name}`);
  if (descriptor.isInherited) return descriptor;
  throw bad(name, `${fd}`, "the caller has not handed over this descriptor, it is one of Deno's own");
}
