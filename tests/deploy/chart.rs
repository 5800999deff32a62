//! The Helm chart: valid for Kubernetes, locked down, and nothing secret in it.

use serde_json::{Value, json};

use super::rendered::{bad_values, chart, charts, list, of_kind, rendered, root, text};

#[test]
fn helm_and_kubernetes_accept_it_for_every_values_file() {
    assert!(charts().len() >= 5, "values files are missing");
    for chart in charts() {
        let name = &chart["name"];
        assert_eq!(chart["lint"], json!([]), "{name}");
        // The operator's own kind has no schema among Kubernetes'.
        let expected = match of_kind(chart, "ServiceMonitor").len() {
            0 => json!({}),
            _ => json!({"ServiceMonitor backup": "unknown"}),
        };
        assert_eq!(chart["invalid"], expected, "{name}");
        for kind in ["Deployment", "Service", "ConfigMap"] {
            assert_eq!(of_kind(chart, kind).len(), 1, "{name}: {kind}");
        }
        assert!(text(&chart["notes"]).contains("apikey create"), "{name}");
    }
    assert_ne!(rendered()["control"], Value::Null, "the validator accepts everything");
}

#[test]
fn every_values_file_shows_another_side_of_it() {
    let kinds = |name: &str| {
        let mut kinds: Vec<_> =
            list(&chart(name)["objects"]).iter().map(|one| text(&one["kind"])).collect();
        kinds.sort_unstable();
        kinds
    };
    let usual = [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PersistentVolumeClaim",
        "Service",
        "ServiceAccount",
    ];
    assert_eq!(kinds("default"), usual);
    assert_eq!(kinds("docspace"), usual);
    assert_eq!(kinds("bare"), ["ConfigMap", "Deployment", "Service"]);
    assert_eq!(
        kinds("everything"),
        [
            "ConfigMap",
            "Deployment",
            "Ingress",
            "NetworkPolicy",
            "Service",
            "ServiceAccount",
            "ServiceMonitor"
        ]
    );
}

#[test]
fn pods_can_do_nothing_that_they_need_not() {
    for chart in charts() {
        let name = text(&chart["name"]);
        let pod = &of_kind(chart, "Deployment")[0]["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        for account in of_kind(chart, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        let context = &pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{name}");
        assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
        assert!(context["runAsUser"].as_u64().unwrap() > 0, "{name}");
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[forbidden], Value::Null, "{name}");
        }
        assert_eq!(list(&pod["containers"]).len(), 1, "{name}");
        let container = &pod["containers"][0];
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "privileged": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            }),
            "{name}"
        );
        for volume in list(&pod["volumes"]) {
            assert_eq!(volume["hostPath"], Value::Null, "{name}");
        }
        for mount in list(&container["volumeMounts"]) {
            let path = text(&mount["mountPath"]);
            if path.starts_with("/etc/") || path.starts_with("/run/") {
                assert_eq!(mount["readOnly"], true, "{name}: {path}");
            }
        }
    }
}

#[test]
fn pods_are_probed_and_sized_and_have_time_to_end() {
    for chart in charts() {
        let name = text(&chart["name"]);
        let deployment = &of_kind(chart, "Deployment")[0]["spec"];
        assert_eq!(deployment["replicas"], 1, "{name}");
        assert_eq!(deployment["strategy"]["type"], "Recreate", "{name}");
        let pod = &deployment["template"]["spec"];
        // Measured: the service gives up after 30 s; a part of 64 MiB at 1 MiB/s takes 64 s.
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 100, "{name}");
        let container = &pod["containers"][0];
        for (probe, path) in [
            ("startupProbe", "/health"),
            ("readinessProbe", "/ready"),
            ("livenessProbe", "/liveness"),
        ] {
            assert_eq!(
                container[probe]["httpGet"],
                json!({"path": path, "port": "http"}),
                "{name}"
            );
        }
        // Measured: a backup peaks at 105 MiB, a restore under 192 MiB.
        assert_eq!(container["resources"]["requests"]["memory"], "192Mi", "{name}");
        assert_eq!(container["resources"]["limits"]["memory"], "320Mi", "{name}");
        assert!(container["resources"]["requests"]["cpu"].is_string(), "{name}");
    }
}

#[test]
fn secrets_are_named_and_never_written() {
    for chart in charts() {
        let name = text(&chart["name"]);
        assert!(of_kind(chart, "Secret").is_empty(), "{name}");
        let pod = &of_kind(chart, "Deployment")[0]["spec"]["template"]["spec"];
        let config = text(&of_kind(chart, "ConfigMap")[0]["data"]["portal-backup.toml"]);
        for word in ["password", "secret", "machine_key", "access_key"] {
            let told = config.lines().any(|line| line.trim_start().starts_with(word));
            assert!(!told, "{name}: {word} in the config map");
        }
        for variable in list(&pod["containers"][0]["env"]) {
            let (key, value) = (text(&variable["name"]), variable["value"].as_str().unwrap_or(""));
            // user:password@host is allowed only as user:$(VARIABLE)@host.
            if let Some((credentials, _)) =
                value.split_once("://").and_then(|(_, r)| r.split_once('@'))
            {
                assert!(credentials.contains(":$("), "{name}: {key}");
            }
            if ["SECRET", "PASSWORD", "MACHINE_KEY"].iter().any(|word| key.contains(word)) {
                let referred = value.starts_with("/run/secrets/")
                    || variable["valueFrom"]["secretKeyRef"].is_object();
                assert!(referred, "{name}: {key}");
            }
        }
    }
}

/// Facts: "Docker: API `onlyoffice-backup:5050`"; DocSpace's chart has a Service `backup` on 5050 that selects
/// `app: backup`, and keeps it when its own deployment is switched off.
#[test]
fn docspaces_own_service_finds_the_pod() {
    let docspace = chart("docspace");
    let deployment = &of_kind(docspace, "Deployment")[0]["spec"];
    assert_eq!(deployment["template"]["metadata"]["labels"]["app"], "backup");
    assert_eq!(deployment["selector"]["matchLabels"]["app"], Value::Null);
    let ports = &deployment["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(ports[0]["containerPort"], 5050);
    let service = of_kind(docspace, "Service")[0];
    assert_ne!(service["metadata"]["name"], "backup", "DocSpace's chart has made it");
    assert_eq!(service["spec"]["ports"][0]["port"], 5050);
    let pod = &deployment["template"]["spec"];
    let claims: Vec<_> = list(&pod["volumes"])
        .iter()
        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
        .collect();
    assert!(claims.contains(&"docspace-data"), "{claims:?}");
}

#[test]
fn services_and_policies_select_the_pod() {
    for chart in charts() {
        let name = text(&chart["name"]);
        let deployment = &of_kind(chart, "Deployment")[0]["spec"];
        let labels = &deployment["template"]["metadata"]["labels"];
        let mut selectors = vec![&deployment["selector"]["matchLabels"]];
        selectors.extend(of_kind(chart, "Service").iter().map(|one| &one["spec"]["selector"]));
        selectors.extend(
            of_kind(chart, "NetworkPolicy")
                .iter()
                .map(|one| &one["spec"]["podSelector"]["matchLabels"]),
        );
        for selector in selectors {
            for (key, value) in selector.as_object().unwrap() {
                assert_eq!(&labels[key], value, "{name}: {key}");
            }
        }
        let service = of_kind(chart, "Service")[0];
        assert_eq!(service["spec"]["ports"][0]["targetPort"], "http", "{name}");
        for monitor in of_kind(chart, "ServiceMonitor") {
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            for (key, value) in selector.as_object().unwrap() {
                assert_eq!(&service["metadata"]["labels"][key], value, "{name}: {key}");
            }
        }
        for ingress in of_kind(chart, "Ingress") {
            for path in list(&ingress["spec"]["rules"][0]["http"]["paths"]) {
                assert_eq!(
                    path["backend"]["service"]["name"], service["metadata"]["name"],
                    "{name}"
                );
            }
            for path in ["/metrics", "/liveness", "/nothing"] {
                assert!(!published(ingress, path), "{name}: {path}");
            }
        }
    }
}

/// Whether an ingress hands a request for this path on (Kubernetes' `Prefix`: by whole parts).
fn published(ingress: &Value, path: &str) -> bool {
    list(&ingress["spec"]["rules"][0]["http"]["paths"]).iter().any(|one| {
        let rest = path.strip_prefix(text(&one["path"]));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Every route of the description but those for who runs the service.
#[test]
fn the_ingress_publishes_every_api_and_the_policy_lets_its_controller_in() {
    let chart = chart("everything");
    let ingress = of_kind(chart, "Ingress")[0];
    let description = std::fs::read_to_string(root().join("openapi.yaml")).unwrap();
    let routes = description.lines().filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':'));
    let routes: Vec<_> = routes.filter(|r| !["health", "liveness", "ready"].contains(r)).collect();
    assert!(routes.len() > 40, "{routes:?}");
    for route in
        routes.into_iter().chain(["api/2.0/portal/startbackup", "openapi.yaml", "swagger/"])
    {
        assert!(published(ingress, &format!("/{route}")), "{route}");
    }
    let peers = &of_kind(chart, "NetworkPolicy")[0]["spec"]["ingress"][0]["from"];
    assert!(list(peers).contains(&json!({"namespaceSelector": {}})), "{peers}");
    // Without an ingress and a monitor nobody outside of the namespace is let in.
    let peers =
        &of_kind(super::rendered::chart("default"), "NetworkPolicy")[0]["spec"]["ingress"][0];
    assert_eq!(peers["from"], json!([{"podSelector": {}}]));
}

#[test]
fn wrong_values_are_refused_with_the_name_of_what_is_wrong() {
    let refusals = list(&rendered()["refusals"]);
    for ((values, word), refusal) in bad_values().into_iter().zip(refusals) {
        let refusal = refusal.as_str().unwrap_or_else(|| panic!("{values} is accepted"));
        assert!(refusal.contains(word), "{values}: {refusal}");
    }
    assert_eq!(refusals.len(), bad_values().len());
}

/// `UPDATE_DEPLOY=1 cargo test --test deploy` writes it anew.
#[test]
fn the_plain_manifest_is_the_chart() {
    let path = root().join("deploy/kubernetes.yaml");
    let head = "\
# A small installation without Helm: the chart in deploy/helm/portal-backup, rendered with its
# ci/manifest-values.yaml. Before applying it, make the secret
#   kubectl create secret generic portal-backup \\
#     --from-literal=database-url='mysql://backup:…@mysql:3306/portal' \\
#     --from-literal=secret-key=\"$(openssl rand -hex 32)\"
# and name the image and the claim that holds the portal's files.
";
    let rendered = format!("{head}{}\n", text(&chart("manifest")["text"]));
    if std::env::var_os("UPDATE_DEPLOY").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == rendered,
        "deploy/kubernetes.yaml is not what the chart says"
    );
}
