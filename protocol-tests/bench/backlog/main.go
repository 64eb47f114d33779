// Calls one of two functions as often as it is told, in as many goroutines as it is told, once a line comes on its standard input, and ends with that input: `backlog pair 1000 2`.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

var sink [64]int

//go:noinline
func pair(x, y int) { sink[x&63] = y }

//go:noinline
func greet(name string) { sink[len(name)&63]++ }

func main() {
	what := os.Args[1]
	calls, _ := strconv.Atoi(os.Args[2])
	goroutines, _ := strconv.Atoi(os.Args[3])
	names := make([]string, 16)
	for i := range names {
		names[i] = "customer number " + strconv.Itoa(i)
	}
	fmt.Println("ready")
	input := bufio.NewReader(os.Stdin)
	if _, err := input.ReadString('\n'); err != nil {
		os.Exit(1)
	}
	var all sync.WaitGroup
	for g := 0; g < goroutines; g++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := 0; i < calls/goroutines; i++ {
				if what == "pair" {
					pair(i, 2*i)
				} else {
					greet(names[i%16])
				}
			}
		}()
	}
	all.Wait()
	fmt.Println("called", calls/goroutines*goroutines)
	io.Copy(io.Discard, input)
}
