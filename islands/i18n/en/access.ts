/** Texts of signing in and of what a role may do. */
export const access = {
  "sign_in.title": "Sign in",
  "sign_in.about": "Paste an API token. An admin makes one with {command}.",
  "sign_in.token": "API token",
  "sign_in.action": "Sign in",
  "sign_in.out": "Sign out",
  "sign_in.out_everywhere": "Sign out everywhere",
  "sign_in.refused": "This token is not known here, has expired or was revoked.",
  "sign_in.too_many": "Too many attempts. Try again in {seconds} s.",
  "sign_in.insecure":
    "This page was not reached over https, so the browser will not stay signed in. Use https, or a tunnel to this machine.",
  "sign_in.as": "Signed in as",
  "role.viewer": "viewer",
  "role.operator": "operator",
  "role.admin": "admin",
  "role.changes": "Changes need the role {role}.",
  "role.needed": "This needs the role {role}.",
} as const;
