;;; session.el --- A session in Emacs with dap-mode  -*- lexical-binding: t; -*-

;;; Commentary:

;; Run as `emacs --batch -l session.el', with SPELUNK_BIN and SHOP (a copy of ../program): breakpoint, logpoint, steps, variables,
;; evaluation, panic, end.

;;; Code:

(let ((here (file-name-directory (or load-file-name buffer-file-name))))
  (add-to-list 'load-path (expand-file-name "../../emacs" here)))
;; Debian's packages are found like this; with -Q or --batch nobody else does it.
(package-initialize)

(defvar lsp-session-file (expand-file-name "../lsp-session" (getenv "SHOP")))
(defvar dap-breakpoints-file (expand-file-name "../breakpoints" (getenv "SHOP")))
(defvar lsp-enable-file-watchers nil)
(require 'spelunk)
(setq spelunk-program (getenv "SPELUNK_BIN")
      dap-auto-configure-features nil
      dap-auto-show-output nil)

(defconst session-limit 30 "How long one step may take, in seconds.")
(defvar session-output "" "What the program and the server wrote.")
(defvar session-stops nil "The stopped events' bodies, the last one first.")
(define-advice dap--on-event (:before (_ event) remember)
  (let ((body (gethash "body" event)))
    (pcase (gethash "event" event)
      ("output" (setq session-output (concat session-output (gethash "output" body))))
      ("stopped" (push body session-stops)))))

(defun session-fail (text)
  (message "FAIL: %s\noutput: %s\nstopped: %S" text session-output (and session-stops (json-encode (car session-stops))))
  (kill-emacs 1))

(defun session-await (what condition &optional seen)
  "Wait until CONDITION holds; WHAT names it, SEEN says what there is instead."
  (let ((end (+ (float-time) session-limit)))
    (while (not (funcall condition))
      (when (> (float-time) end)
        (session-fail (format "not within %d s: %s%s" session-limit what (if seen (format "; there is: %S" (funcall seen)) ""))))
      (accept-process-output nil 0.02)
      ;; What dap-mode does after an answer, it does in timers.
      (sit-for 0.01))))

(defun session-equal (what got wanted)
  (unless (equal got wanted)
    (session-fail (format "%s is %S, not %S" what got wanted))))

(defun session-line (part)
  "Go to the line of the program that has PART in it; its number."
  (goto-char (point-min))
  (search-forward part)
  (beginning-of-line)
  (line-number-at-pos))

(defun session-request (method &rest arguments)
  "The body of the answer to a request."
  (let (answer)
    (dap--send-message (dap--make-request method arguments) (lambda (message) (setq answer message)) (dap--cur-session))
    (session-await (concat method " is answered") (lambda () answer))
    (unless (eq t (gethash "success" answer))
      (session-fail (format "%s: %s" method (json-encode answer))))
    (gethash "body" answer)))

(defun session-frame ()
  (and (dap--cur-session) (dap--debug-session-active-frame (dap--cur-session))))

(defun session-stands (what line reason)
  "Wait until dap-mode shows that the program stands at LINE for REASON."
  (session-await what
                 (lambda () (and (session-frame) session-stops
                                 (equal line (gethash "line" (session-frame)))
                                 (equal reason (gethash "reason" (car session-stops)))))
                 (lambda () (and (session-frame) (json-encode (session-frame))))))

(defun session-local (name)
  "The value of a local variable, as text."
  (let* ((scope (aref (vconcat (gethash "scopes" (session-request "scopes" :frameId (gethash "id" (session-frame))))) 0))
         (variables (gethash "variables" (session-request "variables" :variablesReference (gethash "variablesReference" scope)))))
    (gethash "value" (or (seq-find (lambda (one) (equal name (gethash "name" one))) variables)
                         (session-fail (format "no variable %s among %s" name (json-encode variables)))))))

(find-file (expand-file-name "main.go" (getenv "SHOP")))
(let* ((source (current-buffer))
       (logpoint (progn (session-line "// logpoint") (dap-breakpoint-add) (line-number-at-pos)))
       (_ (cl-letf (((symbol-function 'read-string) (lambda (&rest _) "adding {item.Name} to {sum}")))
            (call-interactively #'dap-breakpoint-log-message)))
       (entry (session-line "func price"))
       (after (session-line "first.ID, \"costs\""))
       (breakpoint (session-line "// breakpoint")))
  (ignore logpoint)
  (dap-breakpoint-add)
  (dap-debug (copy-tree (cdr (assoc "spelunk: debug package" dap-debug-template-configurations))))

  (session-stands "the breakpoint is reached" breakpoint "breakpoint")
  (session-equal "rebate" (session-local "rebate") "50")
  (session-equal "an expression"
                 (gethash "result" (session-request "evaluate" :expression "first.Items[1].Cents"
                                                    :frameId (gethash "id" (session-frame)) :context "repl"))
                 "900")
  (dap-step-in (dap--cur-session))
  (session-stands "the step goes into the function" entry "step")
  (dap-step-out (dap--cur-session))
  (session-stands "the step out comes back" breakpoint "step")
  (session-await "the logpoint tells"
                 (lambda () (and (string-search "> [Go 1]: adding \"tea\" to 0" session-output)
                                 (string-search "> [Go 1]: adding \"cup\" to 350" session-output))))
  (dap-next (dap--cur-session))
  (session-stands "the step over goes to the next line" after "step")
  (session-equal "total" (session-local "total") "1200")
  (session-equal "the file shown" (current-buffer) source)

  (dap-continue (dap--cur-session) (dap--debug-session-thread-id (dap--cur-session)))
  (session-await "the panic stops the program" (lambda () (equal "exception" (gethash "reason" (car session-stops)))))
  (session-await "the program wrote" (lambda () (string-search "order 1 costs 1200" session-output)))
  (let ((ended (dap--cur-session)))
    (dap-disconnect ended)
    (session-await "the session ends" (lambda () (not (dap--session-running ended))))))

(princ "1 passed, 0 failed\n")
(kill-emacs 0)
;;; session.el ends here
