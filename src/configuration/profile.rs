//! The configuration of the official tools: the SDK's variables and file, Terraform's variables,
//! the profile of the command line `hcloud`. Users of these tools need no new configuration of
//! keys.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::credentials::CredentialSecrets;
use super::environment::Environment;
use super::files::{ReadError, Readers, read_text};
use crate::model::secret::Secret;

/// The variables of each tool: access key, secret key, security token. Those of the SDK go first.
const VARIABLES: [[&str; 3]; 3] = [
    ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"],
    ["HW_ACCESS_KEY", "HW_SECRET_KEY", "HW_SECURITY_TOKEN"],
    ["OS_ACCESS_KEY", "OS_SECRET_KEY", "OS_SECURITY_TOKEN"],
];
/// Names the SDK's file, if it is not in its usual place.
const FILE_VARIABLE: &str = "HUAWEICLOUD_SDK_CREDENTIALS_FILE";
/// The length of secret keys. `hcloud` encrypts them by default.
const SECRET_KEY_LENGTH: usize = 40;

/// Reads the keys from this file, or from the usual places of the tools: variables, then files.
///
/// The text of an error never contains a value.
pub(super) fn read(path: Option<&Path>, env: &Environment) -> Result<CredentialSecrets, String> {
    if let Some(path) = path {
        return read_file(path);
    }
    for [access_key, secret_key, token] in VARIABLES {
        let value = |name: &str| env.get(name).filter(|value| !value.is_empty());
        let (Some(access), Some(secret)) = (value(access_key), value(secret_key)) else {
            if let Some((set, unset)) = one_alone(value(access_key).is_some(), value(secret_key).is_some()) {
                let names = [access_key, secret_key];
                return Err(format!("{} is set, and {} is not", names[set], names[unset]));
            }
            continue;
        };
        let text = |value: &std::ffi::OsStr, name: &str| {
            value.to_str().map(str::to_owned).ok_or_else(|| format!("{name} is not UTF-8 text"))
        };
        let token = value(token).map(|value| text(value, token)).transpose()?;
        return keys(text(access, access_key)?, text(secret, secret_key)?, token, "the environment");
    }
    let mut looked = Vec::new();
    for file in usual_files(env) {
        if file.exists() {
            return read_file(&file);
        }
        looked.push(file.display().to_string());
    }
    let looked = if looked.is_empty() { "no file: HOME is not set".to_owned() } else { looked.join(", ") };
    Err(format!(
        "neither the environment variables nor a file of an official tool exist (searched: {looked})"
    ))
}

/// Returns which of two is missing.
fn one_alone(first: bool, second: bool) -> Option<(usize, usize)> {
    match (first, second) {
        (true, false) => Some((0, 1)),
        (false, true) => Some((1, 0)),
        _ => None,
    }
}

fn usual_files(env: &Environment) -> Vec<PathBuf> {
    if let Some(file) = env.get(FILE_VARIABLE).filter(|file| !file.is_empty()) {
        return vec![file.into()];
    }
    let home = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let inside = |home: &PathBuf| [home.join(".huaweicloud/credentials"), home.join(".hcloud/config.json")];
    home.iter().flat_map(inside).collect()
}

fn read_file(path: &Path) -> Result<CredentialSecrets, String> {
    let at = path.display();
    let text = read_text(path, Readers::OwnerOnly).map_err(|error| {
        let advice = match error {
            ReadError::Open { .. } => ": make it readable by its owner alone (chmod 0600)",
            _ => "",
        };
        format!("{at}: {error}{advice}")
    })?;
    let place = at.to_string();
    if text.trim_start().starts_with('{') { hcloud(&text, &place) } else { sdk(&text, &place) }
}

/// Reads the SDK's file: the section `[basic]` of an INI file.
fn sdk(text: &str, place: &str) -> Result<CredentialSecrets, String> {
    let (mut section, mut basic) = (None, false);
    let (mut access, mut secret, mut token) = (None, None, None);
    for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = Some(name.trim().to_owned());
            basic |= name.trim() == "basic";
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return Err(format!("{place}:{number}: neither a [section] nor key = value"));
        };
        if section.as_deref() != Some("basic") {
            continue;
        }
        let key = key.trim().to_ascii_lowercase();
        let slot = match key.as_str() {
            "ak" => &mut access,
            "sk" => &mut secret,
            "security_token" => &mut token,
            _ => continue,
        };
        if slot.replace(value.trim().to_owned()).is_some() {
            return Err(format!("{place}:{number}: {key} is given twice"));
        }
    }
    if !basic {
        return Err(format!("{place}: there is no section [basic]"));
    }
    match (access, secret) {
        (Some(access), Some(secret)) => keys(access, secret, token, place),
        (None, _) => Err(format!("{place}: ak is missing in [basic]")),
        (_, None) => Err(format!("{place}: sk is missing in [basic]")),
    }
}

#[derive(Deserialize)]
struct Hcloud {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<HcloudProfile>,
}

#[derive(Deserialize)]
struct HcloudProfile {
    name: String,
    #[serde(default, rename = "accessKeyId")]
    access: String,
    #[serde(default, rename = "secretAccessKey")]
    secret: String,
    #[serde(default, rename = "securityToken")]
    token: String,
}

/// Reads the current profile of the command line `hcloud`.
fn hcloud(text: &str, place: &str) -> Result<CredentialSecrets, String> {
    let file: Hcloud = serde_json::from_str(text)
        .map_err(|error| format!("{place}:{}:{}: not a profile of hcloud", error.line(), error.column()))?;
    let profile = file.profiles.into_iter().find(|profile| profile.name == file.current);
    let HcloudProfile { access, secret, token, .. } =
        profile.ok_or_else(|| format!("{place}: no profile is in use (\"current\")"))?;
    if access.is_empty() || secret.is_empty() {
        return Err(format!("{place}: the profile in use has no access key"));
    }
    if secret.chars().count() != SECRET_KEY_LENGTH {
        return Err(format!(
            "{place}: the secret key of the profile in use is encrypted; write it again after `hcloud configure set \
             --cli-auth-encrypt=false`, or use type = \"ak-sk\""
        ));
    }
    keys(access, secret, Some(token), place)
}

fn keys(
    access: String,
    secret: String,
    token: Option<String>,
    place: &str,
) -> Result<CredentialSecrets, String> {
    for (what, value) in [("access key", &access), ("secret key", &secret)] {
        if value.is_empty() {
            return Err(format!("{place}: the {what} is empty"));
        }
    }
    Ok(CredentialSecrets::AccessKey {
        access_key: Secret::from(access),
        secret_key: Secret::from(secret),
        security_token: token.filter(|token| !token.is_empty()).map(Secret::from),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::secret::ExposeSecret as _;

    fn shown(secrets: Result<CredentialSecrets, String>) -> Result<[String; 3], String> {
        let CredentialSecrets::AccessKey { access_key, secret_key, security_token } = secrets? else {
            panic!("keys are expected")
        };
        let token = security_token.map(|token| token.expose_secret().to_owned()).unwrap_or_default();
        Ok([access_key.expose_secret().to_owned(), secret_key.expose_secret().to_owned(), token])
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (home, path)
    }

    fn reads(text: &str) -> Result<[String; 3], String> {
        let (_home, path) = file(text);
        shown(read(Some(&path), &Environment::default()))
    }

    #[test]
    fn the_file_of_the_sdk_is_read_as_it_is_documented() {
        let text = "# made by hand\n[global]\nak = other\nsk = other\n\n[basic]\nak = AKID\nsk=SECRET=/+\n; \nproject_id = p\niam_endpoint = https://x\n";
        assert_eq!(reads(text).unwrap(), ["AKID", "SECRET=/+", ""]);
        assert_eq!(reads("[basic]\nAK: a\nSK: s\nsecurity_token = t\n").unwrap(), ["a", "s", "t"]);
    }

    #[test]
    fn the_profile_of_hcloud_that_is_in_use_is_read() {
        let secret = "S".repeat(40);
        let text = |secret: &str| {
            format!(
                r#"{{"current":"b","profiles":[{{"name":"a","accessKeyId":"x","secretAccessKey":"y"}},
                {{"name":"b","mode":"AKSK","accessKeyId":"AKID","secretAccessKey":"{secret}","securityToken":""}}]}}"#
            )
        };
        assert_eq!(reads(&text(&secret)).unwrap(), ["AKID", secret.as_str(), ""]);
        let encrypted = reads(&text("canary-encrypted")).unwrap_err();
        assert!(encrypted.contains("cli-auth-encrypt=false") && !encrypted.contains("canary"), "{encrypted}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line_and_without_a_value() {
        for (text, part) in [
            ("[global]\nak = canary\nsk = canary\n", "no section [basic]"),
            ("[basic]\nsk = canary\n", "ak is missing"),
            ("[basic]\nak = canary\n", "sk is missing"),
            ("[basic]\nak = canary\nak = canary\n", ":3: ak is given twice"),
            ("[basic]\ncanary\n", ":2: neither"),
            ("[basic]\nak =\nsk = canary\n", "the access key is empty"),
            (r#"{"profiles": "canary"}"#, "not a profile of hcloud"),
            (r#"{"current": "canary"}"#, "no profile is in use"),
        ] {
            let error = reads(text).unwrap_err();
            assert!(error.contains(part) && !error.contains("canary"), "{text}: {error}");
        }
        let (_home, path) = file("[basic]\nak = a\nsk = s\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = read(Some(&path), &Environment::default()).unwrap_err();
        assert!(error.contains("0644") && error.contains("chmod 0600"), "{error}");
    }

    #[test]
    fn without_a_path_the_variables_go_first_and_then_the_files() {
        let home = tempfile::tempdir().unwrap();
        let at_home = |more: &[(&str, &str)]| {
            let home = [("HOME", home.path().to_str().unwrap())];
            shown(read(None, &Environment::new(home.into_iter().chain(more.iter().copied()))))
        };
        let none = at_home(&[]).unwrap_err();
        assert!(none.contains(".huaweicloud/credentials") && none.contains(".hcloud/config.json"), "{none}");
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let secret = "S".repeat(40);
        let profile = format!(
            r#"{{"current":"b","profiles":[{{"name":"b","accessKeyId":"hcloud","secretAccessKey":"{secret}"}}]}}"#
        );
        write(".hcloud/config.json", &profile);
        assert_eq!(at_home(&[]).unwrap()[0], "hcloud");
        write(".huaweicloud/credentials", "[basic]\nak = file\nsk = s\n");
        assert_eq!(at_home(&[]).unwrap()[0], "file");
        let other = write("elsewhere", "[basic]\nak = elsewhere\nsk = s\n");
        assert_eq!(at_home(&[(FILE_VARIABLE, &other)]).unwrap()[0], "elsewhere");
        assert_eq!(at_home(&[("HW_ACCESS_KEY", "hw"), ("HW_SECRET_KEY", "s")]).unwrap()[0], "hw");
        let sdk = [("HUAWEICLOUD_SDK_AK", "sdk"), ("HUAWEICLOUD_SDK_SK", "s"), ("HW_ACCESS_KEY", "hw")];
        assert_eq!(at_home(&sdk).unwrap()[0], "sdk");
        let half = at_home(&[("HUAWEICLOUD_SDK_AK", "canary")]).unwrap_err();
        assert_eq!(half, "HUAWEICLOUD_SDK_AK is set, and HUAWEICLOUD_SDK_SK is not");
    }
}
