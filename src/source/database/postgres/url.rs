//! `postgres://user:password@host:port/database?…` as connection options, ours and those of `pg_dump`.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// Parameters that mean the same to us and to `pg_dump`.
const KNOWN: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

const OPTIONS: &str = "PGOPTIONS";

/// Where a database is, and how to get there.
#[derive(Clone)]
pub(super) struct Target {
    /// What the configuration calls it.
    pub name: String,
    pub options: PgConnectOptions,
    /// The environment that leads PostgreSQL's own tools there.
    pub environment: Vec<(&'static str, String)>,
}

impl Target {
    /// Errors do not repeat the URL, for it may hold a password.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("its url cannot be read: {error}"))?;
        let mut environment = Vec::new();
        if let Some(password) = url.password() {
            let password = percent_decode_str(password).decode_utf8();
            let password =
                password.map_err(|_| "the password in its url is not UTF-8".to_owned())?;
            environment.push(("PGPASSWORD", password.into_owned()));
        }
        for (key, value) in url.query_pairs() {
            if !KNOWN.contains(&key.as_ref()) {
                return Err(format!("its url has an unknown parameter {key:?}"));
            }
            let variable = match key.as_ref() {
                "password" => "PGPASSWORD",
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "PGSSLROOTCERT",
                "sslcert" | "ssl-cert" => "PGSSLCERT",
                "sslkey" | "ssl-key" => "PGSSLKEY",
                _ => continue,
            };
            environment.push((variable, value.into_owned()));
        }
        let options = PgConnectOptions::from_str(text)
            .map_err(|_| "its url cannot be read".to_owned())?
            .statement_cache_capacity(0)
            .disable_statement_logging();
        let Some(database) = options.get_database().filter(|name| !name.is_empty()) else {
            return Err("its url must name a database: postgres://user@host/database".to_owned());
        };
        environment.push(("PGDATABASE", database.to_owned()));
        environment.push((
            "PGHOST",
            match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => options.get_host().to_owned(),
            },
        ));
        environment.push(("PGPORT", options.get_port().to_string()));
        environment.push(("PGUSER", options.get_username().to_owned()));
        environment.push((
            "PGSSLMODE",
            match options.get_ssl_mode() {
                PgSslMode::Disable => "disable",
                PgSslMode::Allow => "allow",
                PgSslMode::Prefer => "prefer",
                PgSslMode::Require => "require",
                PgSslMode::VerifyCa => "verify-ca",
                PgSslMode::VerifyFull => "verify-full",
            }
            .to_owned(),
        ));
        if let Some(given) = options.get_options() {
            environment.push((OPTIONS, given.to_owned()));
        }
        Ok(Self { name: name.to_owned(), options, environment })
    }

    /// The same, in which PostgreSQL's own tools have one setting more.
    pub fn set(&self, setting: &str) -> Self {
        let given = self.environment.iter().find(|(name, _)| *name == OPTIONS);
        let given = given.map(|(_, given)| format!("{given} ")).unwrap_or_default();
        let mut changed = self.clone();
        changed.environment.retain(|(name, _)| *name != OPTIONS);
        changed.environment.push((OPTIONS, format!("{given}-c {setting}")));
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_for_both() {
        let target =
            Target::parse("p", "postgres://us%40er:p%3Aw@db.example:6543/my%20db?sslmode=disable")
                .unwrap();
        let variable =
            |name| target.environment.iter().find(|(key, _)| *key == name).unwrap().1.as_str();
        assert_eq!(variable("PGUSER"), "us@er");
        assert_eq!(variable("PGPASSWORD"), "p:w");
        assert_eq!(variable("PGHOST"), "db.example");
        assert_eq!(variable("PGPORT"), "6543");
        assert_eq!(variable("PGDATABASE"), "my db");
        assert_eq!(variable("PGSSLMODE"), "disable");
        assert_eq!(target.options.get_database(), Some("my db"));
    }

    #[test]
    fn errors_say_what_is_wrong_and_hide_the_password() {
        for url in [
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@h/d?zip=1",
            "postgres://u:hunter2@h:x/d",
        ] {
            let error = Target::parse("p", url).err().unwrap();
            assert!(!error.is_empty() && !error.contains("hunter2"), "{error}");
        }
    }
}
