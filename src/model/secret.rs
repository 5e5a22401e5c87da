//! A secret: no `Display`, no `Serialize`, a masking `Debug`, wiped when dropped.

pub use secrecy::{ExposeSecret, SecretString as Secret};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_masks_the_secret() {
        let secret = Secret::from("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.expose_secret(), "hunter2");
    }
}
