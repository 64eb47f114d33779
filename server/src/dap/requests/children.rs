//! Processes that the program starts: `followExec` of the launch configuration, and `dlv target` in the debug console.

use std::fmt::Write;

use crate::dap::session::Session;
use crate::process::command_line;

impl Session {
    /// Has the debugger follow the program's children as the settings say.
    pub(in crate::dap) async fn follow_children(&mut self) -> Result<(), String> {
        let follow = self.settings.follow()?;
        self.call(move |target| {
            target
                .as_deref()
                .map_or(Ok(()), |target| target.follow_children(follow))
        })
        .await
        .map_err(|gone| gone.to_string())?
        .map_err(|error| error.to_string())
    }

    /// `dlv target ...`; the answers are Delve's (`service/dap/command.go`, Delve 1.27.1).
    pub(super) async fn on_target_command(&mut self, line: &str) -> Result<String, String> {
        let mut words = line.splitn(3, ' ').map(str::trim).filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (Some("list"), _, _) => self.list_targets().await,
            (Some("follow-exec"), None, _) => Ok(if self.settings.follow_exec.0 {
                "Follow exec mode is enabled"
            } else {
                "Follow exec mode is disabled"
            }
            .to_owned()),
            (Some("follow-exec"), Some("-on"), regex) => {
                let regex = regex.unwrap_or_default().to_owned();
                let said = if regex.is_empty() {
                    "Follow exec mode enabled".to_owned()
                } else {
                    format!("Follow exec mode enabled with regex {regex:?}")
                };
                self.change_follow((true, regex)).await?;
                Ok(said)
            }
            (Some("follow-exec"), Some("-off"), None) => {
                self.change_follow((false, String::new())).await?;
                Ok("Follow exec mode disabled".to_owned())
            }
            (Some("follow-exec"), Some("-off"), Some(_)) => Err("too many arguments".to_owned()),
            (Some("follow-exec"), Some(other), _) => Err(format!("unknown argument {other:?} to 'target follow-exec'")),
            (Some("switch"), Some(pid), _) => self.switch_target(pid).await,
            _ => Err("unknown target command".to_owned()),
        }
    }

    async fn change_follow(&mut self, follow: (bool, String)) -> Result<(), String> {
        let before = std::mem::replace(&mut self.settings.follow_exec, follow);
        let done = self.follow_children().await;
        if done.is_err() {
            self.settings.follow_exec = before;
        }
        done
    }

    async fn list_targets(&mut self) -> Result<String, String> {
        self.inspect(|at| {
            let selected = at.target.pid();
            let mut text = String::new();
            for pid in at.target.processes().map_err(|error| error.to_string())? {
                let mark = if pid == selected { "*" } else { "" };
                let _ = writeln!(text, "{mark}\t{pid}\t{}", command_line(pid));
            }
            Ok(text)
        })
        .await
    }

    async fn switch_target(&mut self, pid: &str) -> Result<String, String> {
        let wanted: i32 = pid
            .parse()
            .map_err(|_| format!("{pid:?} is not the number of a process"))?;
        self.inspect(move |at| {
            let all = at.target.processes().map_err(|error| error.to_string())?;
            if !all.contains(&wanted) {
                return Err(format!("could not find target {wanted}"));
            }
            at.target.select_process(wanted).map_err(|error| error.to_string())?;
            // What the client was shown is another process's.
            at.frames.reset();
            at.containers.reset();
            at.memory.clear();
            Ok(())
        })
        .await?;
        self.out
            .event_with("invalidated", &serde_json::json!({"areas": ["all"]}));
        Ok(format!("Switched to process {wanted}"))
    }
}
