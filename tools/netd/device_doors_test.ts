/** Where forwards beside a device are, and what is left of one that the machine refuses. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { formatForward, type ForwardSpec, parseForward } from "../nat/forward.ts";
import { DeviceDoors } from "./device_doors.ts";

const UPLINK = {
  address: "10.99.0.2/24",
  v6: { address: "fd99::2/64", peer: "fd99::1/64", gateway: "fd99::1" },
};

/** What opens forwards and writes down which, as `name`. Port 22 is refused. */
function opener(name: string, log: string[]) {
  return {
    open(spec: ForwardSpec, port: number) {
      if (spec.hostPort === 22) throw new KernelError("EADDRINUSE", "Cannot forward *!22: EADDRINUSE");
      log.push(`${name} open ${formatForward(spec)} at ${port}`);
    },
    close: (spec: ForwardSpec) => void log.push(`${name} close ${formatForward(spec)}`),
    end: () => void log.push(`${name} end`),
  };
}

function doorsOf({ hasRules = false, makes = true } = {}) {
  const [log, warnings]: [string[], string[]] = [[], []];
  const doors = new DeviceDoors({
    uplink: UPLINK,
    // Rules take every port.
    rules: hasRules ? { ...opener("rules", log), open: (spec) => void log.push(`rules ${formatForward(spec)}`) } : null,
    makeSockets: () => {
      if (!makes) throw new KernelError("EFAIL", "Cannot make an interface");
      log.push("made");
      return opener("sockets", log);
    },
    warn: (line) => void warnings.push(line),
  });
  const take = () => log.splice(0);
  const place = (text: string) => {
    const { bound, anyPort } = doors.place(parseForward(text));
    return { bound: bound === null ? null : `${bound}`, anyPort };
  };
  return { doors, take, place, warnings, open: (text: string, port: number) => doors.open(parseForward(text), port) };
}

Deno.test("A forward at every address has the device's port and sockets; one at the device's has none", () => {
  const { doors, place, open, take } = doorsOf();
  for (const [text, bound] of [["tcp:8080:80", null], ["udp:10.99.0.2:53:53", "10.99.0.2"]] as const) {
    assertEquals(place(text), { bound, anyPort: false }, text);
  }
  assertEquals(place("tcp:[fd99::2]:80-[fd00::f]:80"), { bound: "fd99::2", anyPort: false });
  open("udp:10.99.0.2:53:53", 53);
  open("tcp:[fd99::2]:80-[fd00::f]:80", 80);
  doors.close(parseForward("udp:10.99.0.2:53:53"));
  assertEquals(take(), [], "without a forward that has sockets nothing is made");
  open("tcp:8080:80", 8080);
  doors.close(parseForward("tcp:8080:80"));
  doors.end();
  assertEquals(take(), ["made", "sockets open tcp:8080:80 at 8080", "sockets close tcp:8080:80", "sockets end"]);
});

Deno.test("A forward at an address of the machine is no port of the device", () => {
  const { place, open, take } = doorsOf();
  assertEquals(place("tcp:127.0.0.1:8080:80"), { bound: "192.0.0.2", anyPort: true });
  assertEquals(place("tcp:[::1]:8080-[fd00::f]:80"), { bound: "fd61:6b61:7269:6e6f::2", anyPort: true });
  open("tcp:127.0.0.1:8080:80", 9000);
  assertEquals(take(), ["made", "sockets open tcp:127.0.0.1:8080:80 at 9000"], "made once, before the port is claimed");
});

Deno.test("A port that the machine refuses leaves the device's, with a warning; at an address it is an error", () => {
  const { doors, open, warnings } = doorsOf();
  open("tcp:22:22", 22);
  open("tcp::22-[fd00::f]:22", 22);
  assertEquals(warnings, [
    "Cannot forward *!22: EADDRINUSE; tcp:22:22 is reached at 10.99.0.2!22 alone",
    "Cannot forward *!22: EADDRINUSE; tcp::22-[fd00::f]:22 is reached at fd99::2!22 alone",
  ]);
  assertThrows(() => open("tcp:127.0.0.1:22:22", 22), KernelError, "EADDRINUSE");
  const spec = parseForward("tcp:22:22");
  assertEquals(doors.reachedAt(spec), "at 10.99.0.2!22");
  doors.close(spec);
  assertEquals([doors.reachedAt(spec), doors.reachedAt(parseForward("tcp:8080:80"))], [null, null]);
});

Deno.test("Where no socket can be had at all, the device's ports are there", () => {
  const { open, place, warnings } = doorsOf({ makes: false });
  open("tcp:8080:80", 8080);
  assertEquals(warnings, ["Cannot make an interface; tcp:8080:80 is reached at 10.99.0.2!8080 alone"]);
  assertThrows(() => place("tcp:127.0.0.1:8080:80"), KernelError, "Cannot make an interface");
});

Deno.test("With rules the host kernel's port may be any, and what sockets cannot have the rules carry", () => {
  const { doors, place, open, take, warnings } = doorsOf({ hasRules: true });
  for (const text of ["tcp:8080:80", "tcp:10.99.0.2:8080:80", "tcp:198.51.100.1:8080:80"]) {
    assertEquals(place(text), { bound: null, anyPort: true }, text);
  }
  open("tcp:8080:80", 8081);
  open("tcp:10.99.0.2:8082:80", 8082);
  assertEquals(take(), [
    "rules tcp:8080:80",
    "made",
    "sockets open tcp:8080:80 at 8081",
    "rules tcp:10.99.0.2:8082:80",
  ]);
  open("tcp:198.51.100.1:22:22", 22);
  assertEquals(warnings, [
    "Cannot forward *!22: EADDRINUSE; tcp:198.51.100.1:22:22 is reached by the rules of --uplink-nat alone",
  ]);
  assertEquals(place("tcp:127.0.0.1:8083:80"), { bound: "192.0.0.2", anyPort: true });
  assertThrows(() => open("tcp:127.0.0.1:22:22", 22), KernelError, "EADDRINUSE");
  take();
  open("tcp:127.0.0.1:8083:80", 8083);
  doors.close(parseForward("tcp:127.0.0.1:8083:80"));
  assertEquals(take(), ["sockets open tcp:127.0.0.1:8083:80 at 8083", "sockets close tcp:127.0.0.1:8083:80"]);
  doors.close(parseForward("tcp:8080:80"));
  doors.end();
  assertEquals(take(), ["rules close tcp:8080:80", "sockets close tcp:8080:80", "sockets end", "rules end"]);
});
