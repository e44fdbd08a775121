import { es } from "../i18n/es.ts";

export default es;
