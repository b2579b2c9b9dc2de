//! `docker-compose.yml` describes the same region as `./run`, and gives nobody a default password.

use serde_json::Value;
use std::process::Command;

/// The file as docker-compose understands it; it needs no engine for that.
fn config() -> Value {
    let file = stack::repository().join("docker-compose.yml");
    let output = Command::new("docker-compose").arg("-f").arg(&file).arg("config").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Debian's own Python, whose YAML reader docker-compose brought; another may stand before it in PATH.
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=str)";
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut python = python.spawn().unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), &output.stdout).unwrap();
    let json = python.wait_with_output().unwrap();
    assert!(json.status.success(), "python3 cannot read YAML");
    serde_json::from_slice(&json.stdout).unwrap()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(stack::repository().join(name)).unwrap()
}

fn services(config: &Value) -> &serde_json::Map<String, Value> {
    config["services"].as_object().unwrap()
}

/// Every text in the tree.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(map) => map.values().for_each(|value| texts(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn the_whole_region_is_described() {
    let config = config();
    let names: Vec<&str> = services(&config).keys().map(String::as_str).collect();
    for name in ["kafka", "registry", "riverside", "stmarys", "causeway-db", "causeway"] {
        assert!(names.contains(&name), "no service {name} in {names:?}");
    }
}

#[test]
fn every_service_has_a_health_check_and_restarts() {
    for (name, service) in services(&config()) {
        let test = service["healthcheck"]["test"].as_array();
        assert!(test.is_some_and(|test| test.len() > 1), "{name} has no health check");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
    }
}

#[test]
fn whatever_keeps_data_keeps_it_in_a_volume() {
    let config = config();
    let volumes = config["volumes"].as_object().unwrap();
    for (name, service) in services(&config) {
        let mut mounted = Vec::new();
        texts(&service["volumes"], &mut mounted);
        let named = mounted.iter().any(|text| volumes.keys().any(|volume| text.starts_with(volume.as_str())));
        assert!(named, "{name} keeps its data in no named volume");
    }
}

#[test]
fn secrets_come_from_files_only() {
    let config = config();
    for (name, secret) in config["secrets"].as_object().unwrap() {
        let file = secret["file"].as_str().unwrap_or_default();
        assert!(file.contains("docker/secrets/"), "secret {name} is not a file");
        assert!(!secret["external"].as_bool().unwrap_or(false), "secret {name}");
    }
    for (name, service) in services(&config) {
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            let secret = ["PASSWORD", "SECRET", "TOKEN", "TRUST"].iter().any(|word| key.contains(word));
            let from_file = key.ends_with("_FILE") && value.as_str().is_some_and(|v| v.starts_with("/run/secrets/"));
            assert!(!secret || from_file, "{name}: {key} is a secret in the open");
        }
    }
    let mut all = Vec::new();
    texts(&config, &mut all);
    let in_url = |text: &&&str| {
        text.split_once("://")
            .is_some_and(|(_, rest)| rest.split('/').next().unwrap_or("").contains(':') && rest.contains('@'))
    };
    assert_eq!(all.iter().filter(in_url).count(), 0, "a URL holds a password");
    // The folder of the secrets goes neither into git nor into an image.
    assert!(read(".gitignore").contains("docker/secrets"));
    assert!(read(".dockerignore").contains("docker/secrets"));
}

#[test]
fn only_the_loopback_is_published() {
    for (name, service) in services(&config()) {
        let mut ports = Vec::new();
        texts(&service["ports"], &mut ports);
        for port in ports.iter().filter(|port| port.contains(':')) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
}

#[test]
fn the_sources_capture_as_they_do_here() {
    let start = read("docker/postgres.sh");
    for setting in ["wal_level=logical", "max_replication_slots=20", "max_wal_senders=20", "ssl=on"] {
        assert!(start.contains(setting), "{setting}");
    }
}

#[test]
fn the_versions_are_those_of_the_local_stack() {
    let pom = read("tools/stack/maven/pom.xml");
    let pinned = |name: &str| {
        let rest = pom.split_once(&format!("<{name}>")).unwrap().1;
        rest.split_once("</").unwrap().0.to_owned()
    };
    assert!(read("docker-compose.yml").contains(&format!("apache/kafka:{}", pinned("kafka.version"))));
    assert!(read("Dockerfile").contains(&format!("apicurio-registry-mem:{}", pinned("registry.version"))));
}

#[test]
fn every_built_image_is_a_stage_of_the_dockerfile() {
    let dockerfile = read("Dockerfile");
    for (name, service) in services(&config()) {
        if let Some(target) = service["build"]["target"].as_str() {
            assert!(dockerfile.contains(&format!(" AS {target}\n")), "{name}: no stage {target}");
        }
    }
    // Every path that a stage copies from the build context is there.
    let copied =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    for path in copied.filter_map(|line| line.split(' ').next()) {
        assert!(stack::repository().join(path).exists(), "the Dockerfile copies {path}, which is not there");
    }
}
