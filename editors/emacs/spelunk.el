;;; spelunk.el --- Debug Go with spelunk, by dap-mode  -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "27.1") (dap-mode "0.7"))

;;; Commentary:

;; Put this file into a folder of `load-path', and into your init file:
;;
;;     (require 'spelunk)
;;
;; M-x dap-debug then offers the templates "spelunk: ...".  Each starts
;; `spelunk dap' on a free port of this machine.

;;; Code:

(require 'cl-lib)
(require 'dap-mode)
(require 'dap-ui)

(defgroup spelunk nil
  "Debugging Go with spelunk."
  :group 'dap-mode)

(defcustom spelunk-program "spelunk"
  "The spelunk program: a path, or a name to look up as a command."
  :type 'string)

(defun spelunk--package-folder ()
  "The folder of the package that the current file belongs to."
  (directory-file-name (expand-file-name default-directory)))

(defun spelunk--start (arguments)
  "Start a server for the launch or attach ARGUMENTS, and say where it listens."
  (let ((program (or (executable-find spelunk-program)
                     (user-error "No program `%s'; install spelunk, or customize `spelunk-program'" spelunk-program)))
        (port (dap--find-available-port)))
    (when (equal (plist-get arguments :request) "launch")
      (unless (plist-get arguments :program)
        (plist-put arguments :program (spelunk--package-folder)))
      ;; The Go toolchain finds the module from the folder it runs in.
      (unless (or (equal (plist-get arguments :mode) "exec") (plist-get arguments :dlvCwd))
        (plist-put arguments :dlvCwd (let ((what (plist-get arguments :program)))
                                       (if (file-directory-p what) what (file-name-directory what)))))
      (unless (plist-get arguments :outputMode)
        (plist-put arguments :outputMode "remote")))
    (when (equal (plist-get arguments :request) "attach")
      (unless (or (plist-get arguments :processId) (plist-get arguments :waitFor))
        (plist-put arguments :processId (spelunk--read-process))))
    ;; The server takes one client, so dap-mode must not try the port with `:wait-for-port'; connecting is tried again until
    ;; it listens.
    (plist-put arguments :program-to-start (format "%s dap --listen=127.0.0.1:%d" (shell-quote-argument program) port))
    (plist-put arguments :host "127.0.0.1")
    (plist-put arguments :debugServer port)
    arguments))

(defun spelunk--read-process ()
  "Ask for a process of this machine."
  (let* ((choices (cl-loop for pid in (list-system-processes)
                           for command = (alist-get 'args (process-attributes pid))
                           when (and command (not (string-empty-p command)))
                           collect (format "%d %s" pid command)))
         (choice (completing-read "Process: " choices nil t)))
    (string-to-number choice)))

(dap-register-debug-provider "spelunk" #'spelunk--start)

(dap-register-debug-template
 "spelunk: debug package"
 (list :type "spelunk" :request "launch" :mode "debug" :name "spelunk: debug package"))

(dap-register-debug-template
 "spelunk: debug tests"
 (list :type "spelunk" :request "launch" :mode "test" :name "spelunk: debug tests"))

(dap-register-debug-template
 "spelunk: attach to process"
 (list :type "spelunk" :request "attach" :mode "local" :name "spelunk: attach to process"))

(provide 'spelunk)
;;; spelunk.el ends here
