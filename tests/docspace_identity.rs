//! Keys, users and tenants of DocSpace, asked in a real database.

#[path = "support/docspace.rs"]
mod docspace;

use docspace::*;
use portal_backup::portal::docspace::keys::Scopes;
use portal_backup::portal::docspace::tenants::{RequestHosts, TenantError};
use portal_backup::portal::{Portal, PortalError, TenantStatus};

fn open(docspace: &DocSpace) -> Portal {
    Portal::open(&docspace.config(), &[]).unwrap()
}

#[tokio::test]
async fn a_key_is_valid_for_its_tenant_while_it_lives() {
    let docspace = DocSpace::create().await;
    let portal = open(&docspace);
    let identity = portal.identity().unwrap();
    let owner = identity.authenticate(&OWNER_KEY.text(), 1).await.unwrap().unwrap();
    assert_eq!(owner.user_id, OWNER.0);
    assert_eq!((owner.tenant, owner.key_id), (1, OWNER_KEY.id()));
    assert_eq!(owner.scopes, Scopes::of(None));
    let rights = async |key: &Key| {
        let owner = identity.authenticate(&key.text(), key.1.1).await.unwrap()?;
        Some((owner.scopes.can_read(), owner.scopes.can_write()))
    };
    assert_eq!(rights(&ADMIN_KEY).await, Some((true, true)));
    assert_eq!(rights(&READ_KEY).await, Some((true, false)));
    assert_eq!(rights(&FILES_KEY).await, Some((false, false)));
    assert_eq!(rights(&OTHER_KEY).await, Some((true, true)));
    assert_eq!(rights(&EXPIRED_KEY).await, None);
    assert_eq!(rights(&INACTIVE_KEY).await, None);
    let foreign = identity.authenticate(&OTHER_KEY.text(), 1).await.unwrap();
    assert_eq!(foreign, None);
    let foreign = identity.authenticate(&OWNER_KEY.text(), 2).await.unwrap();
    assert_eq!(foreign, None);
    let unknown = format!("sk-{}", "f".repeat(64));
    assert_eq!(identity.authenticate(&unknown, 1).await.unwrap(), None);
    assert_eq!(identity.authenticate("sk-' OR 1=1 -- ", 1).await.unwrap(), None);
}

#[tokio::test]
async fn use_is_noted_and_revocation_takes_hold() {
    let docspace = DocSpace::create().await;
    let portal = open(&docspace);
    let identity = portal.identity().unwrap();
    let last_used =
        format!("SELECT last_used FROM core_user_api_key WHERE Id = '{}'", ADMIN_KEY.id());
    assert_eq!(docspace.value(&last_used).await, None);
    assert!(identity.authenticate(&ADMIN_KEY.text(), 1).await.unwrap().is_some());
    assert!(docspace.value(&last_used).await.is_some());

    docspace.execute(&["UPDATE core_user_api_key SET IsActive = 0"]).await;
    // Another process knows nothing of the key yet; this one knows it for five seconds.
    assert!(
        open(&docspace)
            .identity()
            .unwrap()
            .authenticate(&ADMIN_KEY.text(), 1)
            .await
            .unwrap()
            .is_none()
    );
    tokio::time::sleep(std::time::Duration::from_millis(5100)).await;
    assert_eq!(identity.authenticate(&ADMIN_KEY.text(), 1).await.unwrap(), None);
}

#[tokio::test]
async fn only_live_administrators_are_administrators() {
    let docspace = DocSpace::create().await;
    let portal = open(&docspace);
    let identity = portal.identity().unwrap();
    for (user, expected) in [
        (&OWNER, true),
        (&ADMIN, true),
        (&ALLOWED, true),
        (&DENIED, false),
        (&MEMBER, false),
        (&TERMINATED_ADMIN, false),
        (&REMOVED_ADMIN, false),
        (&OTHER_OWNER, true),
    ] {
        assert_eq!(identity.is_admin(user.1, user.0).await.unwrap(), expected, "{}", user.0);
    }
    assert!(!identity.is_admin(2, OWNER.0).await.unwrap());
    assert!(!identity.is_admin(1, ZERO).await.unwrap());
}

#[tokio::test]
async fn limited_spaces_may_not_dump() {
    let docspace = DocSpace::create().await;
    assert!(open(&docspace).identity().unwrap().may_dump(1).await.unwrap());
    let setting = "INSERT INTO webstudio_settings (TenantID, ID, UserID, Data, last_modified) VALUES \
        (1, '880585C4-52CD-4AE2-8DA4-3B8E2772753B', '00000000-0000-0000-0000-000000000000', \
         '{\"LimitedAccessSpace\":true}', NOW())";
    docspace.execute(&[setting]).await;
    let portal = open(&docspace);
    assert!(!portal.identity().unwrap().may_dump(1).await.unwrap());
    assert!(portal.identity().unwrap().may_dump(2).await.unwrap());
    let mut hosted = docspace.config();
    hosted.portal.docspace.base_domain = "portals.example".to_owned();
    let hosted = Portal::open(&hosted, &[]).unwrap();
    assert!(!hosted.identity().unwrap().may_dump(2).await.unwrap());
}

#[tokio::test]
async fn tenants_come_from_the_database() {
    let docspace = DocSpace::create().await;
    let portal = open(&docspace);
    let tenants = portal.tenants().await.unwrap();
    let ids: Vec<_> = tenants.iter().map(|tenant| (tenant.id, tenant.alias.as_str())).collect();
    assert_eq!(ids, [(-1, "settings"), (1, "localhost"), (2, "second")]);
    assert_eq!(tenants[0].status, TenantStatus::Suspended);
    assert_eq!(tenants[1].owner_id.as_deref(), Some(OWNER.0));
    assert_eq!(tenants[1].timezone.as_deref(), Some("Europe/Paris"));
    assert_eq!(tenants[1].mapped_domain.as_deref(), Some("office.example.com"));

    let identity = portal.identity().unwrap();
    let hosts = |host| RequestHosts { host: Some(host), ..Default::default() };
    assert_eq!(identity.tenant_of(&hosts("second.localhost")).await.unwrap().id, 2);
    assert_eq!(identity.tenant_of(&hosts("127.0.0.1:5012")).await.unwrap().id, 1);
    docspace.execute(&["UPDATE tenants_tenants SET status = 2 WHERE id = 2"]).await;
    let later = open(&docspace);
    let refused = later.identity().unwrap().tenant_of(&hosts("second.localhost")).await;
    assert!(matches!(refused, Err(TenantError::NotFound)), "{refused:?}");
}

#[tokio::test]
async fn the_installation_is_told_by_its_marks() {
    let docspace = DocSpace::create().await;
    let portal = open(&docspace);
    assert_eq!(portal.last_migration().await.unwrap().as_deref(), Some(LAST_MIGRATION));
    docspace.execute(&["DROP TABLE __EFMigrationsHistory"]).await;
    assert_eq!(portal.last_migration().await.unwrap(), None);
    let fingerprint = portal.machine_key_fingerprint().unwrap();
    assert_eq!(fingerprint, open(&docspace).machine_key_fingerprint().unwrap());
    assert!(!fingerprint.contains(MACHINE_KEY));
}

#[tokio::test]
async fn errors_name_no_password() {
    let docspace = DocSpace::create().await;
    let mut config = docspace.config();
    let url = docspace.url.replace("root@", "nobody:hunter2@");
    config.portal.database[0].url = portal_backup::config::Secret::new(url);
    let error = Portal::open(&config, &[]).unwrap().tenants().await.unwrap_err();
    assert!(matches!(error, PortalError::Database(_)), "{error}");
    assert!(error.to_string().contains("nobody"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    for url in ["mysql://root:hunter2@[", "postgres://root:hunter2@h/d", ""] {
        config.portal.database[0].url = portal_backup::config::Secret::new(url);
        let error = Portal::open(&config, &[]).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

/// "Secrets: config autofac.consumers.json or core_settings tenant -1, id `AuthKey_{name}{key}` e.g.
/// `AuthKey_s3acesskey`, keyno-2 crypto." The values were made with openssl and the key that the facts give.
#[tokio::test]
async fn credentials_of_consumers_are_read_from_the_settings() {
    use portal_backup::storage::ConsumerSecrets;
    let docspace = DocSpace::create().await;
    let row = |tenant: i64, id: &str, value: &str| {
        format!(
            "INSERT INTO core_settings (tenant, id, value, last_modified) \
             VALUES ({tenant}, '{id}', {value}, NOW())"
        )
    };
    docspace
        .execute(&[
            row(-1, "AuthKey_s3acesskey", "X'7291ecdad6d29ce70d923aa112ed6372'"),
            row(
                -1,
                "AuthKey_s3secretaccesskey",
                "X'63e5e9b8346e31fc0cac0ecf21fa44c0793d7383dd7dca805afc9a4ec849bf5f'",
            ),
            row(-1, "AuthKey_s3broken", "X'00'"),
            row(-1, "AuthKey_googlecloudjson", "X'7291ecdad6d29ce70d923aa112ed6372'"),
            row(-1, "AuthKeyXs3other", "X'7291ecdad6d29ce70d923aa112ed6372'"),
            row(1, "AuthKey_s3region", "X'7291ecdad6d29ce70d923aa112ed6372'"),
        ])
        .await;
    let portal = open(&docspace);
    let identity = portal.identity().unwrap();
    let secrets = identity.secrets("s3").await.unwrap();
    let expected = [("acesskey", "AKIDEXAMPLE"), ("secretaccesskey", "wJalrXUtnFEMI/K7MDENG")];
    assert_eq!(secrets, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert!(identity.secrets("rackspace").await.unwrap().is_empty());
    assert_eq!(identity.secrets("googlecloud").await.unwrap().len(), 1);
}
