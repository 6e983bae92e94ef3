/**
 * The network of a host that boots: its loopback, the interface on its wire, their addresses, and the default routes.
 *
 * Path: boot → interfaces → proc, addresses, ether, dev_ip.
 *
 * @module
 */

import type { EtherDev } from "../../devices/ether/dev_ether.ts";
import type { IpDev } from "../../devices/ip/files/dev_ip.ts";
import type { FramePort, PacketPort } from "../../kernel/host.ts";
import { Mount } from "../../kernel/namespace.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import type { HostAddresses } from "./addresses.ts";

/** The devices that have the host's network. */
interface NetworkDevices {
  readonly ether: EtherDev;
  readonly ip: IpDev;
}

/** Makes the loopback interface. `localnet`: 127/8 is the machine's behind the gateway, so not its own. */
export async function addLoopback(setup: Proc, { localnet, address6 }: HostAddresses): Promise<void> {
  const addresses = [...localnet ? [] : ["127.0.0.1/8"], ...address6 === null ? [] : ["::1/128"]];
  await addInterface(setup, "loopback loop0", addresses);
}

/** Binds the port's device to an interface of its own, which has the host's addresses. */
export async function plugIn(
  { ether, ip }: NetworkDevices,
  port: FramePort | PacketPort,
  setup: Proc,
  { address, address6, localnet }: HostAddresses,
): Promise<void> {
  const addresses = [address, address6].filter((one) => one !== null);
  const verbs = localnet ? ["localnet"] : [];
  if (port.kind === "frame") {
    ether.attachPort(port);
    setup.sys.nbind("#ether.0", "/net", Mount.After);
    await addInterface(setup, "ether /net/ether0", addresses, verbs);
  } else {
    ip.packetPorts.set(port.name, port);
    await addInterface(setup, `tun ${port.name}`, addresses, verbs);
  }
}

/** Adds the default routes. */
export async function addRoutes(setup: Proc, { gateway, gateway6, localnet }: HostAddresses): Promise<void> {
  const nets = gateway === null ? [] : localnet ? ["0.0.0.0 /0", "127.0.0.0 /8"] : ["0.0.0.0 /0"];
  for (const net of nets) await setup.writeText("/net/iproute", `add ${net} ${gateway}`);
  if (gateway6 !== null) await setup.writeText("/net/iproute", `add :: /0 ${gateway6}`);
}

/** Clones an interface, binds it, gives it addresses with their prefix lengths, and writes `verbs` to its ctl. */
async function addInterface(
  setup: Proc,
  medium: string,
  addresses: readonly string[],
  verbs: readonly string[] = [],
): Promise<void> {
  const ctl = await setup.open("/net/ipifc/clone", Open.ReadWrite);
  await setup.write(ctl, `bind ${medium}`);
  for (const address of addresses) {
    const [addr, length] = address.split("/");
    await setup.write(ctl, `add ${addr} /${length}`);
  }
  for (const verb of verbs) await setup.write(ctl, verb);
  setup.sys.close(ctl);
}
