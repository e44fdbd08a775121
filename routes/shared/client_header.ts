/** Names the program that asks, for the audit table: `cli`. */
export const CLIENT_HEADER = "x-etl-client";
