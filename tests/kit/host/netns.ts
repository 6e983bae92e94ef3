/**
 * Linux's own tools inside a network namespace, for tests on a real machine.
 *
 * @module
 */

import type { Netns } from "../../../devices/host/netns.ts";

/** How a command ended. */
export interface NetnsOutput {
  readonly success: boolean;
  /** Its output, both streams. */
  readonly text: string;
}

/** Longest that a command may run, in milliseconds: a test that hangs reports nothing. */
const COMMAND_LIMIT_MS = 60_000;

/** Runs a command inside `netns` while everything else goes on; output of any success is the caller's to judge. */
export async function netnsExec(netns: Netns, command: readonly string[]): Promise<NetnsOutput> {
  const child = new Deno.Command("nsenter", {
    args: [`--net=${netns.path}`, ...command],
    env: { LC_ALL: "C" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(COMMAND_LIMIT_MS),
  });
  const { success, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { success, text: decoder.decode(stdout) + decoder.decode(stderr) };
}
