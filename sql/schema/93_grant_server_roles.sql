-- Tables of this version are granted to the roles that servers use.
select etl.grant_server_role(s.role_name) from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name;
