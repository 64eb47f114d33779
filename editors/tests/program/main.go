// A program to debug in an editor: it takes orders, and panics on the last one.
package main

import (
	"fmt"
	"sync"
)

// Item is one line of an order.
type Item struct {
	Name  string
	Cents int
}

// Order is what a customer wants.
type Order struct {
	ID    int
	Items []Item
	Notes map[string]string
}

func price(order *Order, rebate int) int {
	sum := 0
	for i, item := range order.Items {
		sum += item.Cents // logpoint
		_ = i
	}
	return sum - rebate
}

func ship(order *Order) {
	order.Notes["shipped"] = "yes" // panics without a map
}

func main() {
	var clerks sync.WaitGroup
	done := make(chan struct{})
	for clerk := 0; clerk < 2; clerk++ {
		clerks.Add(1)
		go func() {
			defer clerks.Done()
			<-done
		}()
	}
	tea := Item{"tea", 350}
	first := &Order{ID: 1, Items: []Item{tea, {"cup", 900}}, Notes: map[string]string{"gift": "no"}}
	second := &Order{ID: 2, Items: []Item{tea}}

	rebate := 50
	fmt.Println("open")           // from here on, the rebate is read from memory
	total := price(first, rebate) // breakpoint
	fmt.Println("order", first.ID, "costs", total)
	ship(first)
	fmt.Println("order", second.ID, "costs", price(second, 0))
	ship(second)
	close(done)
	clerks.Wait()
}
