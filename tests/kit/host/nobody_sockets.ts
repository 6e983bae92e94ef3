/**
 * What a process without rights gets of the machine's sockets, where kit/host/routed has its host: a program that
 * prints one line of JSON for each version of IP.
 *
 * @module
 */

import { addr, made, message, SocketLab } from "./sockets.ts";
import { ROUTED, type RoutedEnds } from "./routed.ts";

const PORT = 7007;

async function tryAll(lab: SocketLab, { version, host, world, unreachable }: RoutedEnds): Promise<unknown> {
  const { sockets } = lab;
  const at = (address: string) => ({ address: addr(address), port: PORT });
  const outcome = (answer: unknown) => typeof answer === "string" ? answer : "open";
  const binds = [
    sockets.listen({ version, address: null, port: 80 }),
    sockets.datagrams({ version, address: null, port: 80 }),
    sockets.listen({ version, address: null, port: 8080, device: "a1500" }),
    sockets.datagrams({ version, address: addr(host), port: 8080, device: "a1500" }),
  ].map(outcome);
  const stream = await lab.settled(lab.connect(at(world), { from: addr(host), ttl: 9, tos: 0xb8 }));
  const probe = await lab.settled(lab.connect(at(world), { ttl: 1 }));
  const udp = made(sockets.datagrams({ version, address: null, port: 0 }));
  const header = { from: addr(host), ttl: 9, tos: 0xbb, dontFragment: true };
  udp.send([message(at(world), "hello", header), message(at(unreachable), "lost", header)], 2);
  const [heard] = await lab.hear(udp);
  const report = await lab.report(udp);
  const echo = made(sockets.echo(version, null));
  echo.send([message({ ...at(world), port: 0 }, new Uint8Array([version === 4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 7]))], 1);
  const [reply] = await lab.hear(echo);
  return {
    binds,
    stream: stream.state,
    hop: `${probe.takeReport()?.offender}`,
    udp: [heard!.text, heard!.ttl, heard!.tos],
    report: [report.failure, `${report.offender}`],
    ping: [...reply!.payload].at(-1),
    local: [host, world].map((address) => sockets.isLocal(addr(address))),
  };
}

if (import.meta.main) {
  await using lab = new SocketLab();
  for (const ends of ROUTED) console.log(JSON.stringify(await tryAll(lab, ends)));
  console.log("done");
}
