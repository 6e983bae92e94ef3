/**
 * The files of `#ip` that are read as text: each is formatted when it is read.
 *
 * Path: dev_ip → text_files → ip_tree, ip_stack, bypass.
 *
 * @module
 */

import type { IpStack } from "../ip_stack.ts";
import { bypassStatus, localText } from "../network/bypass.ts";
import { convAt, Kind, kindOf, protoAt } from "./ip_tree.ts";

/** The text of the file at `path` now. */
export function fileText(stack: IpStack, path: number): string {
  const kind = kindOf(path);
  if (kind === Kind.Arp) return stack.arp.format() + stack.nd.format();
  if (kind === Kind.IpRoute) return stack.routes.format();
  if (kind === Kind.IpSelfTab) return stack.self.format();
  if (kind === Kind.Stats) return protoAt(stack, path)!.stats();
  const conv = convAt(stack, path)!;
  if (kind === Kind.Ctl) return `${conv.number}`;
  if (kind === Kind.Status) return conv.bypass !== null ? bypassStatus(conv) : conv.proto.status(conv);
  if (kind === Kind.Local) return conv.proto.local?.(conv) ?? `${localText(conv)}\n`;
  return conv.proto.remote?.(conv) ?? `${conv.raddr}!${conv.rport}\n`;
}
