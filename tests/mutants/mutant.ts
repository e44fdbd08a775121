/** A fault of one line that somebody could make, and the tests that must notice it. */
export interface Mutant {
  /** "topic/what": unique in all lists. */
  id: string;
  /** Product code, relative to the project. */
  file: string;
  /** Text that occurs in the file exactly once. */
  find: string;
  /** What takes its place. */
  replace: string;
  /** The promise that is broken with it. */
  breaks: string;
  /** Each "folder/file_test.ts: part of a test's name"; below tests/. One of them has to fail. */
  tests: string[];
}

/** A test that a mutant, or a claim of the documentation, names. */
export interface NamedTest {
  /** Relative to the project. */
  file: string;
  /** Part of the test's name, or empty: every test of the file. */
  name: string;
}

/** Reads "folder/file_test.ts: part of a name". */
export function namedTest(text: string): NamedTest {
  const [file = "", ...name] = text.split(": ");
  return { file: `tests/${file}`, name: name.join(": ") };
}
