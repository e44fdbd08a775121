import { followHistory } from "../history/follow.ts";

followHistory();
