//! A client, and the session that serves it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::script::{Script, Scripted};
use crate::{
    dap::{
        Settings,
        codec::{Frame as Message, FrameReader, encode},
        session::serve,
    },
    transport::Connection,
};

/// A client, and the session that serves it.
pub(super) struct Client {
    reader: FrameReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    seq: i64,
    pub(super) interrupt: CancellationToken,
    pub(super) serving: JoinHandle<std::io::Result<()>>,
    pub(super) script: Arc<Script>,
}

impl Client {
    pub(super) fn new() -> Client {
        let script = Arc::new(Script::default());
        let (ours, theirs) = tokio::io::duplex(4096);
        let interrupt = CancellationToken::new();
        let (launcher, interrupted) = (Arc::new(Scripted(script.clone())), interrupt.clone());
        let connection = Connection {
            stream: Box::new(theirs),
            local: "here".to_owned(),
        };
        let serving =
            tokio::spawn(
                async move { serve(connection, launcher, Settings::default(), interrupted.cancelled()).await },
            );
        let (reader, writer) = tokio::io::split(ours);
        Client {
            reader: FrameReader::new(reader),
            writer,
            seq: 0,
            interrupt,
            serving,
            script,
        }
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.expect("the session reads");
    }

    pub(super) async fn send(&mut self, command: &str, arguments: Value) -> i64 {
        self.seq += 1;
        let mut message = json!({"seq": self.seq, "type": "request", "command": command});
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let mut bytes = bytes::BytesMut::new();
        encode(message.to_string().as_bytes(), &mut bytes);
        self.raw(&bytes).await;
        self.seq
    }

    /// The next message as it is; null at the end.
    pub(super) async fn next_message(&mut self) -> Value {
        let read = tokio::time::timeout(Duration::from_secs(10), self.reader.next());
        match read.await.expect("a message in time").expect("a readable message") {
            Some(Message::Message(message)) => message,
            Some(other) => panic!("{other:?}"),
            None => Value::Null,
        }
    }

    /// The next message, in short: `event NAME`, `ok COMMAND`, `refused COMMAND ID TEXT`, `CATEGORY: OUTPUT`.
    pub(super) async fn next(&mut self) -> String {
        let message = match self.next_message().await {
            Value::Null => return "end".to_owned(),
            message => message,
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if message["type"] == "event" {
            return match text(&message["event"]).as_str() {
                "output" => format!(
                    "{}: {}",
                    text(&message["body"]["category"]),
                    text(&message["body"]["output"])
                ),
                "exited" => format!("event exited {}", message["body"]["exitCode"]),
                "stopped" => format!("event stopped {}", message["body"]),
                name => format!("event {name}"),
            };
        }
        let command = text(&message["command"]);
        if message["success"] == true {
            let body = &message["body"];
            return match ["breakpoints", "threads", "stackFrames", "variables"]
                .iter()
                .find_map(|name| body.get(name))
            {
                Some(list) if command == "stackTrace" => format!("ok {command} {list} of {}", body["totalFrames"]),
                Some(list) => format!("ok {command} {list}"),
                None if command == "evaluate" => format!("ok evaluate {body}"),
                None => format!("ok {command}"),
            };
        }
        let error = &message["body"]["error"];
        format!("refused {command} {} {}", error["id"], text(&error["format"]))
    }

    pub(super) async fn expect(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(&self.next().await, expected);
        }
    }

    pub(super) async fn ask(&mut self, command: &str, arguments: Value, expected: &[&str]) {
        self.send(command, arguments).await;
        self.expect(expected).await;
    }

    pub(super) async fn launch(&mut self, further: Value) {
        let program = std::env::current_exe().expect("a program");
        let mut arguments = json!({"mode": "exec", "program": program});
        for (name, value) in further.as_object().expect("attributes") {
            arguments[name] = value.clone();
        }
        self.ask(
            "launch",
            arguments,
            &["event process", "event initialized", "ok launch"],
        )
        .await;
    }

    pub(super) async fn attach(&mut self) {
        let expected = ["event capabilities", "event initialized", "ok attach"];
        self.ask("attach", json!({"processId": std::process::id()}), &expected)
            .await;
    }

    pub(super) async fn run(&mut self) {
        let resumed = |script: &Script| script.calls().iter().filter(|call| call.starts_with("resume")).count();
        let before = resumed(&self.script);
        let expected = [
            "console: Type 'dlv help' for list of commands.\n",
            "ok configurationDone",
        ];
        self.ask("configurationDone", Value::Null, &expected).await;
        // The answer comes first; what the test does next should find the program running.
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        while resumed(&self.script) == before {
            assert!(tokio::time::Instant::now() < end, "the program was not let run");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for the end of the session and returns what the target was told.
    pub(super) async fn finish(self) -> Vec<String> {
        drop((self.reader, self.writer));
        tokio::time::timeout(Duration::from_secs(10), self.serving)
            .await
            .expect("the session ends")
            .expect("without a panic")
            .expect("without an error");
        self.script.calls()
    }
}
