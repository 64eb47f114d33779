// A program that starts others: itself with another name, and programs that are not Go's.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

//go:noinline
func begin(children int) int {
	return children * 2
}

//go:noinline
func member(name string) int {
	size := len(name)
	size += double(size)
	return size
}

//go:noinline
func double(n int) int {
	return 2 * n
}

//go:noinline
func finish(children int) int {
	return children + 1
}

// start runs this program once more, as a member of the family.
func start(words ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], words...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		panic(err)
	}
	return command
}

func wait(command *exec.Cmd) {
	if err := command.Wait(); err != nil {
		fmt.Println("a child ended with", err)
	}
}

// loop passes double for as long as it takes.
func loop() {
	for n := 0; ; n++ {
		double(n)
		time.Sleep(time.Millisecond)
	}
}

func main() {
	what, words := os.Args[1], os.Args[2:]
	switch what {
	case "one-by-one", "together":
		count, _ := strconv.Atoi(words[0])
		begin(count)
		var all []*exec.Cmd
		for i := 0; i < count; i++ {
			child := start("member", fmt.Sprintf("C%d", i))
			if what == "together" {
				all = append(all, child)
			} else {
				wait(child)
				double(i)
			}
		}
		for _, child := range all {
			wait(child)
		}
		finish(count)
	case "member":
		fmt.Println(words[0], member(words[0]))
	case "foreign":
		out, err := exec.Command("/bin/sh", "-c", "/bin/echo $((6 * 7))").Output()
		fmt.Printf("%s%v\n", out, err)
		finish(0)
	case "shell":
		// A shell starts a member, and becomes one.
		script := `"$0" member first; exec "$0" member second`
		if err := exec.Command("/bin/sh", "-c", script, os.Args[0]).Run(); err != nil {
			panic(err)
		}
		finish(0)
	case "orphan":
		// orphan FILE: what a shell leaves behind becomes a slow child when the shell has ended.
		script := `(sleep 0.2; exec "$0" slow-child "$1") & sleep 0.05`
		if err := exec.Command("/bin/sh", "-c", script, os.Args[0], words[0]).Run(); err != nil {
			panic(err)
		}
		loop()
	case "loops":
		child := start("loop")
		begin(1)
		if len(words) > 0 {
			loop()
		}
		wait(child)
		finish(1)
	case "loop":
		loop()
	case "becomes", "becomes-beside-loop":
		// What it becomes, word by word; without words this program once more.
		if what != "becomes" {
			start("loop")
		}
		begin(0)
		if len(words) == 0 {
			words = []string{os.Args[0], "member", "itself"}
		}
		if err := syscall.Exec(words[0], words, os.Environ()); err != nil {
			panic(err)
		}
	case "slow":
		// slow FILE: when it is told to, it starts a child that says in a file when it is done.
		fmt.Println("ready")
		fmt.Scanln()
		child := start("slow-child", words[0])
		begin(1)
		wait(child)
	case "slow-child":
		for n := 0; n < 300; n++ {
			double(n)
			time.Sleep(time.Millisecond)
		}
		if err := os.WriteFile(words[0], []byte("done"), 0o600); err != nil {
			panic(err)
		}
	}
}
