/** That the rule about dialect can fail: in comments, messages and documents, and not for names in code. */

import { assertEquals } from "@std/assert";
import { DIALECT, wordProblems } from "./words.ts";

const WORDS = "nobody Nobody's whoever waked anew unasked,in vain,unawares aloud,none of ours,given away,makes of," +
  "what all,is told,been told,other than in Akaros";

Deno.test("each word of the dialect is caught in a comment, in a message, in a template and in a document", () => {
  const every = WORDS.replaceAll(",", " ");
  const count = 16;
  for (const text of [`// ${every}`, `const a = "${every}";`, `f(\`\${a} ${every}\`);`]) {
    assertEquals(wordProblems({ path: "kernel/a.ts", text }).length, count, text);
  }
  assertEquals(wordProblems({ path: "docs/a.md", text: every }).length, count);
  assertEquals(DIALECT.filter(([word]) => !new RegExp(word).test(every)), []);
});

Deno.test("a problem names the word, what to write, and the line within a comment", () => {
  assertEquals(wordProblems({ path: "kernel/a.ts", text: "f();\n/**\n * It is waked.\n */" }), [
    { path: "kernel/a.ts", line: 3, text: '"waked" is dialect: write woken' },
  ]);
});

Deno.test("names in code and words that contain a dialect word are let be", () => {
  assertEquals(wordProblems({ path: "kernel/a.ts", text: "const nobody = anew(whoever); // renewal, untold" }), []);
});
