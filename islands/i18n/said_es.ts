/** What the server says, in Spanish: a file of its own, as few islands show it and it is larger than all texts of the pages. */
export { inSpanish as translate } from "../../vocabulary/messages.ts";
