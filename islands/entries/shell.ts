/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { showTimes } from "../shell/times.ts";
import { switchTheme } from "../shell/theme.ts";
import { useKeys } from "../shell/keys.ts";
import { submitOnChange } from "../shell/forms.ts";

showTimes();
switchTheme();
useKeys();
submitOnChange();
document.documentElement.classList.add("ready");
