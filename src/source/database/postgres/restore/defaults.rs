//! Default privileges of the whole database: what a restore makes must not gain what the archive does not give it.

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::{identifier, literal};
use super::journal::{Place, Swapped};
use super::{Fault, MAY_GIVE};

/// Has none of the user's own count for the time being. Returns what puts them back, for the end. (Those of a schema
/// stay with the schema that is put aside.)
pub(super) async fn suspend(session: &mut Session) -> Result<Vec<String>, Fault> {
    let query = "WITH d AS (SELECT defaclobjtype AS kind, defaclacl AS own, pg_catalog.acldefault(CASE defaclobjtype \
           WHEN 'S' THEN 's'::\"char\" ELSE defaclobjtype END, defaclrole) AS plain FROM pg_catalog.pg_default_acl \
           WHERE defaclnamespace = 0 AND pg_catalog.pg_get_userbyid(defaclrole) = current_user), \
         own AS (SELECT d.kind, a.grantee, a.privilege_type, a.is_grantable FROM d, pg_catalog.aclexplode(d.own) a), \
         plain AS (SELECT d.kind, a.grantee, a.privilege_type, a.is_grantable FROM d, pg_catalog.aclexplode(d.plain) a) \
         SELECT side, kind::text, CASE grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(grantee)::text END, \
           privilege_type::text, is_grantable::text FROM \
         (SELECT 'own' AS side, x.* FROM (TABLE own EXCEPT TABLE plain) x \
          UNION ALL SELECT 'plain', x.* FROM (TABLE plain EXCEPT TABLE own) x) z";
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for row in session.rows(query).await? {
        let Some(kind) = kind(&text(&row, 1)) else { continue };
        let role = row.get(2).cloned().flatten();
        let role = role.map_or("PUBLIC".to_owned(), |role| identifier(&role));
        let what = format!("{} ON {kind}", text(&row, 3));
        let option = if text(&row, 4) == "true" { " WITH GRANT OPTION" } else { "" };
        let revoke = format!("ALTER DEFAULT PRIVILEGES REVOKE {what} FROM {role}");
        let grant = format!("ALTER DEFAULT PRIVILEGES GRANT {what} TO {role}{option}");
        let side = if text(&row, 0) == "own" { &mut own } else { &mut plain };
        side.push((revoke, grant));
    }
    let change = |from: &[(String, String)], to: &[(String, String)]| -> Vec<String> {
        let revokes = from.iter().map(|(revoke, _)| revoke.clone());
        revokes.chain(to.iter().map(|(_, grant)| grant.clone())).collect()
    };
    for statement in change(&own, &plain) {
        session.run(&statement).await?;
    }
    Ok(change(&plain, &own))
}

/// What gives new schemas the default privileges of those that they replace, for the end. Those that other roles have
/// given are theirs to give again.
pub(super) async fn of_schemas(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<Vec<String>, Fault> {
    let mut statements = Vec::new();
    for swapped in schemas.iter().filter(|swapped| swapped.replaces) {
        let query = format!(
            "SELECT d.defaclobjtype::text, pg_catalog.pg_get_userbyid(d.defaclrole)::text, a.privilege_type::text, \
               CASE a.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.is_grantable::text \
             FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace, \
               LATERAL pg_catalog.aclexplode(d.defaclacl) a \
             WHERE pg_catalog.pg_has_role(d.defaclrole, {MAY_GIVE}) AND n.nspname = {}",
            literal(&place.kept(swapped.number))
        );
        for row in session.rows(&query).await? {
            let Some(kind) = kind(&text(&row, 0)) else { continue };
            let role = row.get(3).cloned().flatten();
            let role = role.map_or("PUBLIC".to_owned(), |role| identifier(&role));
            let option = if text(&row, 4) == "true" { " WITH GRANT OPTION" } else { "" };
            statements.push(format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} ON {kind} TO {role}{option}",
                identifier(&text(&row, 1)),
                identifier(&swapped.name),
                text(&row, 2)
            ));
        }
    }
    Ok(statements)
}

fn kind(letter: &str) -> Option<&'static str> {
    Some(match letter {
        "r" => "TABLES",
        "S" => "SEQUENCES",
        "f" => "FUNCTIONS",
        "T" => "TYPES",
        "n" => "SCHEMAS",
        "L" => "LARGE OBJECTS",
        _ => return None,
    })
}
