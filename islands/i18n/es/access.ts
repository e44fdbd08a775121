import type { access as english } from "../en/access.ts";

export const access: Record<keyof typeof english, string> = {
  "sign_in.title": "Iniciar sesión",
  "sign_in.about": "Pegue un token de la API. Un administrador lo crea con {command}.",
  "sign_in.token": "Token de la API",
  "sign_in.action": "Iniciar sesión",
  "sign_in.out": "Cerrar sesión",
  "sign_in.out_everywhere": "Cerrar todas las sesiones",
  "sign_in.refused": "Este token no se conoce aquí, ha caducado o fue revocado.",
  "sign_in.too_many": "Demasiados intentos. Vuelva a intentarlo en {seconds} s.",
  "sign_in.insecure":
    "No se ha llegado a esta página por https, así que el navegador no mantendrá la sesión. Use https o un túnel a esta máquina.",
  "sign_in.as": "Sesión iniciada como",
  "role.viewer": "lector",
  "role.operator": "operador",
  "role.admin": "administrador",
  "role.changes": "Los cambios requieren el rol {role}.",
  "role.needed": "Esto requiere el rol {role}.",
};
