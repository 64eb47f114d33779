package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

// With the argument "open" the program takes orders for ever: something to attach to. With "ask" it reads the customer's name first.
func init() {
	order := &Order{ID: 3, Items: []Item{{"pot", 1200}}}
	switch {
	case len(os.Args) < 2:
	case os.Args[1] == "open":
		for {
			order.ID++
			price(order, order.ID) // attached
			time.Sleep(20 * time.Millisecond)
		}
	case os.Args[1] == "ask":
		fmt.Print("your name? ")
		name, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Printf("good morning, %s", name)
	}
}
