#!/usr/bin/env -S deno run
console.log("doctor");
