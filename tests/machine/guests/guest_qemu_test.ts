/**
 * A real virtual machine on our wire: Debian's kernel under QEMU, without hardware virtualisation, attached by
 * `-netdev dgram`, and nothing but our kernel at the other end. By `-netdev stream` it is in netd_qemu_test and
 * scenario_qemu_test.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import {
  KNOWN_ADDRESS,
  KNOWN_NAME,
  openQemuLab,
  QEMU_GUEST,
  QEMU_HOST,
  QEMU_NEEDS,
  type QemuLab,
} from "../../kit/host/qemu.ts";
import { machineTest } from "../../kit/check/skip.ts";

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

/** The guest pings us: usual packets, fragments, the largest ones; and a dead address, without an answer. */
async function checkPings(lab: QemuLab): Promise<void> {
  const text = await lab.mustRun(`ping -c 3 -i 0.05 ${QEMU_HOST}`);
  assertMatch(text, /64 bytes from 10\.77\.0\.1: seq=2 ttl=255/);
  assertStringIncludes(text, "3 packets transmitted, 3 packets received, 0% packet loss");
  for (const size of [1472, 1473, 8000, 65507]) {
    assertStringIncludes(await lab.mustRun(`ping -c 2 -i 0.05 -s ${size} ${QEMU_HOST}`), "2 packets received");
  }
  const dead = await lab.machine.run("ping -c 1 -W 1 10.77.0.99");
  assertEquals(dead.code, 1);
}

/** A file goes to us and comes back, each block a datagram. */
async function checkUdp(lab: QemuLab): Promise<void> {
  const bytes = pattern(100_000, 5);
  lab.files.set("down", bytes);
  assertStringIncludes(
    await lab.mustRun(`tftp -g -r down -l /tmp/down ${QEMU_HOST} && sha256sum /tmp/down`),
    await sha256(bytes),
  );
  await lab.mustRun(`tftp -p -l /tmp/down -r up ${QEMU_HOST}`);
  assertEquals(lab.files.get("up"), bytes);
  assertStringIncludes(await lab.mustRun(`nslookup -type=a ${KNOWN_NAME}`), `Address: ${KNOWN_ADDRESS.join(".")}`);
}

machineTest("QEMU by -netdev dgram: a guest pings and sends files", QEMU_NEEDS, async (t) => {
  await using lab = await openQemuLab("dgram", { mac: "52:54:00:00:00:77" });
  await t.step("its card is ours", async () => {
    assertStringIncludes(await lab.mustRun("ip addr show eth0"), `inet ${QEMU_GUEST}/24`);
    assertMatch(await lab.mustRun("uname -r"), /cloud-amd64\n$/);
  });
  await t.step("ping", () => checkPings(lab));
  await t.step("udp, both ways", () => checkUdp(lab));
  await t.step("traceroute sees one hop, and a closed port", async () => {
    const text = await lab.mustRun(`traceroute -n -w 1 ${QEMU_HOST}`);
    assertMatch(text, /\n 1 {2}10\.77\.0\.1 {2}[\d.]+ ms {2}[\d.]+ ms {2}[\d.]+ ms\n$/);
  });
  const { counters } = lab.guest.port;
  assertEquals([counters.arrivals, counters.overflows, counters.runts, counters.giants], [1, 0, 0, 0]);
});
