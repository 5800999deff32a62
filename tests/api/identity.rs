//! Every way in that DocSpace has, and what each may do: `facts.md` §1, row by row.

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::docspace::*;
use crate::support::issuer::{Issuer, Signer};
use crate::support::service::Service;

const PROGRESS: &str = "/api/2.0/backup/getbackupprogress";
/// The key of cookies that `facts.md` §1 gives for the machine key of these tests.
const COOKIE_KEY: &str = "e3749c2091f034c3429a2d1d207c6e1f8c3c7cb21e696c5181855dae0e2d3781";
const COOKIE_SETTINGS: &str = "16FB8E67-E96D-4B22-B217-C80F25C5DE1B";

pub fn config(docspace: &DocSpace) -> String {
    format!(
        "[portal]\nlayout = \"docspace\"\n[[portal.database]]\nname = \"docspace\"\nurl = \"{}\"\n[[portal.filesystem]]\nname = \"data\"\nurl = \"file://{}\"\n[portal.docspace]\nmachine_key = \"{MACHINE_KEY}\"\nmirror = false\n",
        docspace.url,
        docspace.root().display()
    )
}

/// What DocSpace would have put into the cookie.
struct Login {
    tenant: i64,
    user: &'static str,
    tenant_index: i64,
    expires: &'static str,
    user_index: i64,
    event: &'static str,
}

impl Login {
    fn of(user: &User) -> Self {
        let User(user, tenant, ..) = *user;
        let expires = "2199-12-31 23:59:59,999";
        Self { tenant, user, tenant_index: 0, expires, user_index: 0, event: "" }
    }

    fn token(&self) -> String {
        let address = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let mut text = format!(
            "${}$${address}${}${}${}${}${}",
            self.tenant,
            self.user.replace('-', ""),
            self.tenant_index,
            self.expires,
            self.user_index,
            self.event
        )
        .into_bytes();
        let key = UnboundCipherKey::new(&AES_256, &hex::decode(COOKIE_KEY).unwrap()).unwrap();
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap();
        let context = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        key.less_safe_encrypt(&mut text, context).unwrap();
        STANDARD.encode(text)
    }
}

/// The status of a GET with these headers.
async fn status(service: &Service, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = service.http.get(format!("{}{path}", service.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn schemes_are_chosen_as_docspace_chooses_them() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let token = Login::of(&ADMIN).token();
    let encoded = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let (key, own) = (ADMIN_KEY.text(), service.key.clone());
    let bearer = |text: &str| format!("Bearer {text}");
    let cookie = |text: &str| format!("theme=dark; asc_auth_key={text}");
    let rows: Vec<(u16, Vec<(&str, String)>)> = vec![
        // "`Authorization` empty → Cookie."
        (401, vec![]),
        (200, vec![("cookie", cookie(&encoded))]),
        (200, vec![("cookie", cookie(&token))]),
        (401, vec![("cookie", cookie("nonsense"))]),
        // "starts `Basic ` → Basic": it is not known how DocSpace keeps passwords.
        (401, vec![("authorization", "Basic dXNlcjpwYXNz".to_owned())]),
        (
            401,
            vec![("authorization", "Basic dXNlcjpwYXNz".to_owned()), ("cookie", cookie(&encoded))],
        ),
        // "else token starts `sk-` → ApiKeyBearer", whatever the cookie says.
        (200, vec![("authorization", bearer(&key))]),
        (200, vec![("authorization", bearer(&key)), ("cookie", cookie("nonsense"))]),
        (200, vec![("authorization", bearer(&own))]),
        // "a login token works bare or with Bearer".
        (200, vec![("authorization", token.clone())]),
        (200, vec![("authorization", bearer(&token))]),
        (200, vec![("authorization", encoded.clone())]),
        // "a cookie beats the header within that scheme".
        (200, vec![("authorization", "nonsense".to_owned()), ("cookie", cookie(&encoded))]),
        (401, vec![("authorization", token.clone()), ("cookie", cookie("nonsense"))]),
        (401, vec![("authorization", bearer(&token)), ("cookie", cookie("nonsense"))]),
        // "Accepting bare `sk-` is a safe superset", and so is the header of the specification's name.
        (200, vec![("authorization", key.clone())]),
        (200, vec![("authorization", own.clone())]),
        (200, vec![("apikeybearer", key.clone())]),
        (200, vec![("apikeybearer", own.clone())]),
        (401, vec![("authorization", key.clone()), ("cookie", cookie("nonsense"))]),
        // A JWT, where no issuer is configured.
        (401, vec![("authorization", bearer("eyJhbGciOiJub25lIn0.e30."))]),
    ];
    for (expected, headers) in rows {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(status(&service, PROGRESS, &headers).await, expected, "{headers:?}");
    }
    let log = service.log();
    assert!(!log.contains(&token) && !log.contains(&key) && !log.contains(&own));
}

/// "Checks: tenant equal; indexes equal `TenantCookieSettings.Index` (…; default 0); not expired;
/// loginEventId≠0 → `login_events` row of the tenant must have `active`=1."
#[tokio::test]
async fn a_login_holds_until_it_is_ended() {
    let docspace = DocSpace::create().await;
    let event = |id: i64, tenant: i64, active: i64| {
        format!(
            "INSERT INTO login_events (id, active, date, tenant_id, user_id) VALUES \
             ({id}, {active}, '2026-01-01 00:00:00', {tenant}, '{}')",
            ADMIN.0
        )
    };
    let settings = |tenant: i64, user: &str, index: i64| {
        format!(
            "INSERT INTO webstudio_settings (TenantID, ID, UserID, Data, last_modified) VALUES \
             ({tenant}, '{COOKIE_SETTINGS}', '{user}', '{{\"Index\":{index},\"Enabled\":false}}', NOW())"
        )
    };
    docspace
        .execute(&[event(1, 1, 1), event(2, 1, 0), event(3, 2, 1), settings(1, OWNER.0, 5)])
        .await;
    let service = Service::start(&config(&docspace)).await;
    let of = async |login: Login| {
        let cookie = format!("asc_auth_key={}", login.token());
        status(&service, PROGRESS, &[("cookie", &cookie)]).await
    };
    for (expected, login) in [
        (200, Login::of(&ADMIN)),
        (200, Login { event: "0", ..Login::of(&ADMIN) }),
        (200, Login { event: "1", ..Login::of(&ADMIN) }),
        (401, Login { event: "2", ..Login::of(&ADMIN) }),
        (401, Login { event: "3", ..Login::of(&ADMIN) }),
        (401, Login { event: "4", ..Login::of(&ADMIN) }),
        (401, Login { tenant: 2, ..Login::of(&ADMIN) }),
        (401, Login { expires: "2026-01-01 00:00:00,000", ..Login::of(&ADMIN) }),
        (401, Login { tenant_index: 1, ..Login::of(&ADMIN) }),
        (401, Login { user_index: 1, ..Login::of(&ADMIN) }),
        (200, Login { user_index: 5, ..Login::of(&OWNER) }),
        (401, Login::of(&OWNER)),
    ] {
        assert_eq!(of(login).await, expected);
    }
    // All logins of the tenant, and one login, ended: what was known holds five seconds at most.
    docspace.execute(&[settings(1, ZERO, 1)]).await;
    while of(Login { event: "1", ..Login::of(&ADMIN) }).await == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(of(Login { tenant_index: 1, event: "1", ..Login::of(&ADMIN) }).await, 200);
    docspace.execute(&["UPDATE login_events SET active = 0 WHERE id = 1"]).await;
    while of(Login { tenant_index: 1, event: "1", ..Login::of(&ADMIN) }).await == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// "user is tenant owner or has a live row in `core_usergroup` (…DocSpaceAdmin…). A core_acl Allow row (…)
/// would also pass. User must exist, not be removed, `core_user.status`=1".
#[tokio::test]
async fn only_administrators_may_however_they_come() {
    let docspace = DocSpace::create().await;
    let signer = Signer::es256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let service = Service::start(&(config(&docspace) + &issuer.config(""))).await;
    for (user, expected) in [
        (&OWNER, 200),
        (&ADMIN, 200),
        (&ALLOWED, 200),
        (&DENIED, 403),
        (&MEMBER, 403),
        (&TERMINATED_ADMIN, 403),
        (&REMOVED_ADMIN, 403),
    ] {
        let cookie = format!("asc_auth_key={}", Login::of(user).token());
        assert_eq!(
            status(&service, PROGRESS, &[("cookie", &cookie)]).await,
            expected,
            "{}",
            user.0
        );
        let claims = issuer.claims(json!({"sub": user.0, "tid": 1}));
        let token = format!("Bearer {}", signer.sign(&claims));
        let status = status(&service, PROGRESS, &[("authorization", &token)]).await;
        assert_eq!(status, expected, "{}", user.0);
    }
    let token = |claims: Value| format!("Bearer {}", signer.sign(&issuer.claims(claims)));
    for (expected, claims) in [
        (200, json!({"sub": ADMIN.0})),
        (200, json!({"sub": ADMIN.0.to_uppercase(), "tid": "1"})),
        (401, json!({"sub": ADMIN.0, "tid": 2})),
        (403, json!({"sub": ZERO, "tid": 1})),
        (403, json!({"sub": "nobody", "tid": 1})),
        (403, json!({"sub": OTHER_OWNER.0, "tid": 1})),
        // "OAuth scopes table has no global scope, so OAuth tokens cannot call backup."
        (403, json!({"sub": ADMIN.0, "tid": 1, "scope": "files:write rooms:write accounts:write"})),
        (403, json!({"sub": ADMIN.0, "tid": 1, "scope": null})),
    ] {
        let text = claims.to_string();
        let status = status(&service, PROGRESS, &[("authorization", &token(claims))]).await;
        assert_eq!(status, expected, "{text}");
    }
}

/// "Standalone: `Origin` header host (strict match) first, then request host. … a `?origin=` query
/// overrides the host. … 1/2 → 404; 3/4/6 → 403".
#[tokio::test]
async fn the_address_names_the_tenant() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let (first, second) = (ADMIN_KEY.text(), OTHER_KEY.text());
    let own = service.key.clone();
    let with = async |key: &str, path: &str, headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("authorization", key));
        status(&service, path, &headers).await
    };
    let query = format!("{PROGRESS}?origin=http://second.localhost");
    for (headers, path, is_second) in [
        (&[] as &[(&str, &str)], PROGRESS, false),
        (&[("host", "second.localhost")], PROGRESS, true),
        (&[("origin", "http://second.localhost")], PROGRESS, true),
        (&[("origin", "http://second.localhost"), ("host", "office.example.com")], PROGRESS, true),
        (&[("origin", "http://office.example.com"), ("host", "second.localhost")], PROGRESS, false),
        (&[("host", "office.example.com")], PROGRESS, false),
        (&[("origin", "null"), ("host", "second.localhost:8080")], PROGRESS, true),
        (&[], &query as &str, true),
        // "X-Forwarded-Host honoured from known proxies": nobody is one here.
        (&[("x-forwarded-host", "second.localhost")], PROGRESS, false),
    ] {
        let (right, wrong) = if is_second { (&second, &first) } else { (&first, &second) };
        assert_eq!(with(right, path, headers).await, 200, "{headers:?} {path}");
        assert_eq!(with(wrong, path, headers).await, 401, "{headers:?} {path}");
        assert_eq!(with(&own, path, headers).await, 200, "{headers:?} {path}");
    }
    for (state, expected) in [(1, 404), (2, 404), (3, 403), (4, 403), (6, 403), (5, 200), (0, 200)]
    {
        let sql = format!("UPDATE tenants_tenants SET status = {state} WHERE id = 2");
        docspace.execute(&[sql]).await;
        let host = [("host", "second.localhost")];
        // What was known of the tenants holds five seconds at most.
        for _ in 0..100 {
            if with(&second, PROGRESS, &host).await == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(with(&second, PROGRESS, &host).await, expected, "status {state}");
        assert_eq!(with(&first, PROGRESS, &[]).await, 200);
    }
}

/// Every operation of the description that is not a mere look: method and path, with an id that nothing has.
async fn writes(service: &Service) -> Vec<(Method, String)> {
    let yaml = service.get("/openapi.yaml").await.text().await.unwrap();
    let mut path = "";
    let mut found = Vec::new();
    for line in yaml.lines() {
        if let Some(name) = line.strip_prefix("  /") {
            path = name.trim_end_matches(':').trim_matches('\'');
        }
        let method = line.strip_prefix("    ").and_then(|rest| rest.strip_suffix(':'));
        let method = match method {
            Some("post") => Method::POST,
            Some("put") => Method::PUT,
            Some("patch") => Method::PATCH,
            Some("delete") => Method::DELETE,
            _ => continue,
        };
        let path = path.replace("{id}", ZERO).replace("{path}", "dump");
        found.push((method, format!("/{path}")));
    }
    assert!(found.len() >= 6, "the description could not be read: {found:?}");
    found
}

/// "GET → `*:read` or `*:write`; other verbs → `*:write`."
#[tokio::test]
async fn who_may_read_may_do_nothing_else() {
    let docspace = DocSpace::create().await;
    let signer = Signer::rs256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let service = Service::start(&(config(&docspace) + &issuer.config(""))).await;
    let claims = issuer.claims(json!({"sub": ADMIN.0, "tid": 1, "scope": "*:read"}));
    let readers = [service.new_key("read"), READ_KEY.text(), signer.sign(&claims)];
    let writes = writes(&service).await;
    for reader in readers {
        let bearer = format!("Bearer {reader}");
        for path in [PROGRESS, "/api/2.0/backup/getbackuphistory?dump=true", "/v1/jobs"] {
            assert_eq!(status(&service, path, &[("authorization", &bearer)]).await, 200, "{path}");
        }
        // A plan of retention removes nothing, and sensenet asks by POST too.
        let reads = |path: &str| path == "/v1/retention/plan" || path.contains("QueryIndexBackup");
        for (method, path) in writes.iter().filter(|(_, path)| !reads(path)) {
            let answer = service
                .http
                .request(method.clone(), format!("{}{path}", service.base))
                .header("authorization", &bearer)
                .json(&json!({"storageType": "Local", "dump": true}))
                .send()
                .await
                .unwrap();
            let status = answer.status();
            let body = answer.text().await.unwrap();
            // DocSpace's upload tells its errors with 200.
            let refused = status == StatusCode::FORBIDDEN || body.contains("\"Success\":false");
            // RavenDB knows no other refusal than this.
            let raven = ["/databases/", "/fs/", "/admin/"].iter().any(|api| path.starts_with(api));
            let refused = refused || raven && status == StatusCode::UNAUTHORIZED;
            assert!(refused, "{method} {path}: {status} {body}");
        }
        for path in
            [format!("/v1/archives/{ZERO}/content"), format!("/v1/archives/{ZERO}/entries/a")]
        {
            assert_eq!(status(&service, &path, &[("authorization", &bearer)]).await, 403, "{path}");
        }
    }
    let history = service.json("/api/2.0/backup/getbackuphistory?dump=true").await;
    assert_eq!(history["count"], 0, "{history}");
}

/// "Dump operations additionally require standalone and `LimitedAccessSpace`=false".
#[tokio::test]
async fn limited_spaces_see_no_dumps() {
    let docspace = DocSpace::create().await;
    let limit = format!(
        "INSERT INTO webstudio_settings (TenantID, ID, UserID, Data, last_modified) VALUES \
         (1, '880585C4-52CD-4AE2-8DA4-3B8E2772753B', '{ZERO}', '{{\"LimitedAccessSpace\":true}}', NOW())"
    );
    docspace.execute(&[limit]).await;
    let service = Service::start(&config(&docspace)).await;
    let cookie = format!("asc_auth_key={}", Login::of(&OWNER).token());
    let dump = format!("{PROGRESS}?dump=true");
    assert_eq!(status(&service, &dump, &[("cookie", &cookie)]).await, 403);
    assert_eq!(status(&service, PROGRESS, &[("cookie", &cookie)]).await, 200);
    let start = |headers: &[(&str, &str)]| {
        let url = format!("{}/api/2.0/backup/startbackup", service.base);
        let mut request =
            service.http.post(url).json(&json!({"storageType": "Local", "dump": true}));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send()
    };
    assert_eq!(start(&[("cookie", &cookie)]).await.unwrap().status(), 403);
    // The other tenant is not limited; but its browser must not be made to act by another site.
    let cookie = format!("asc_auth_key={}", Login::of(&OTHER_OWNER).token());
    let host = ("host", "second.localhost");
    let forged = [("cookie", cookie.as_str()), host, ("sec-fetch-site", "cross-site")];
    assert_eq!(start(&forged).await.unwrap().status(), 403);
    assert_eq!(status(&service, PROGRESS, &forged).await, 200, "looking is harmless");
    let own = [("cookie", cookie.as_str()), host, ("sec-fetch-site", "same-origin")];
    assert_eq!(start(&own).await.unwrap().status(), 200);
}

#[tokio::test]
async fn guesses_are_slowed_down_and_what_was_right_is_not() {
    let docspace = DocSpace::create().await;
    let signer = Signer::es256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let service = Service::start(&(config(&docspace) + &issuer.config(""))).await;
    let login = Login::of(&ADMIN).token();
    let fresh = Login { event: "0", ..Login::of(&ADMIN) }.token();
    let of = async |text: &str| {
        status(&service, PROGRESS, &[("authorization", &format!("Bearer {text}"))]).await
    };
    assert_eq!(of(&login).await, 200);
    assert_eq!(of(&ADMIN_KEY.text()).await, 200);
    let token = |claims: Value| signer.sign(&issuer.claims(claims));
    // Neither a token that is wrong or too old, nor a login that has ended, is a guess.
    let ended = Login { expires: "2020-01-01 00:00:00,000", ..Login::of(&ADMIN) }.token();
    for wrong in 0..12 {
        let token = token(json!({"sub": ADMIN.0, "aud": wrong.to_string()}));
        assert_eq!(of(&token).await, 401, "{wrong}");
        assert_eq!(of(&ended).await, 401, "{wrong}");
    }
    for guess in 0..12 {
        let refused = of(&format!("guess{guess}")).await;
        assert_eq!(refused, if guess < 10 { 401 } else { 429 }, "{guess}");
    }
    for wrong in [format!("sk-{}", "9".repeat(64)), "guess".to_owned()] {
        assert_eq!(of(&wrong).await, 429, "{wrong}");
    }
    // Right for the first time: only what cannot be guessed is looked at.
    assert_eq!(of(&fresh).await, 429);
    assert_eq!(of(&OWNER_KEY.text()).await, 429);
    assert_eq!(of(&token(json!({"sub": ADMIN.0}))).await, 200);
    assert_eq!(of(&login).await, 200);
    assert_eq!(of(&ADMIN_KEY.text()).await, 200);
    assert_eq!(of(&service.key).await, 200);
}
