-- A session in Neovim with nvim-dap and our configuration: breakpoint, logpoint, steps, variables, evaluation, panic, restart, end.
--
-- Run as `nvim --headless -u NONE -l session.lua`, with NVIM_DAP (the plugin's folder), SPELUNK_BIN and SHOP (a copy of ../program).
local here = vim.fn.fnamemodify(debug.getinfo(1, 'S').source:sub(2), ':p:h')
local plugin, server, shop = vim.env.NVIM_DAP, vim.env.SPELUNK_BIN, vim.env.SHOP
vim.opt.runtimepath:append(plugin)
package.path = here .. '/../../nvim/?.lua;' .. package.path

local STEP = 30000
local dap = require('dap')
require('spelunk').setup({ path = server })

--- Everything that the program and the server wrote, by category.
local output = {}
dap.listeners.after.event_output['test'] = function(_, body)
  output[body.category] = (output[body.category] or '') .. body.output
end
local stops = 0
local last
dap.listeners.after.event_stopped['test'] = function(_, body)
  stops, last = stops + 1, body
end

local function fail(text)
  io.stderr:write('FAIL: ' .. text .. '\n' .. vim.inspect(output) .. '\n' .. vim.inspect(last) .. '\n')
  io.stderr:write(vim.fn.execute('messages') .. '\n')
  local session = dap.session()
  if session then
    session:close()
  end
  os.exit(1)
end

local function eventually(what, condition, seen)
  if not vim.wait(STEP, condition, 20) then
    fail('not within ' .. STEP / 1000 .. ' s: ' .. what .. (seen and ('; there is: ' .. vim.inspect(seen())) or ''))
  end
end

local lines = vim.fn.readfile(shop .. '/main.go')
local function line_of(part)
  for number, line in ipairs(lines) do
    if line:find(part, 1, true) then
      return number
    end
  end
  fail('no line has ' .. part)
end

--- Asks, and waits for the answer.
local function request(command, arguments)
  local done, failure, body
  dap.session():request(command, arguments, function(err, answer)
    done, failure, body = true, err, answer
  end)
  eventually(command .. ' is answered', function()
    return done
  end)
  if failure then
    fail(command .. ': ' .. vim.inspect(failure))
  end
  return body
end

--- Where the program stands, once nvim-dap shows it: the function and the line of the topmost frame.
local function stands(what, line, reason)
  eventually(what, function()
    local frame = dap.session() and dap.session().current_frame
    return frame and frame.line == line and (not reason or last.reason == reason)
  end, function()
    return dap.session() and dap.session().current_frame
  end)
end

local function locals()
  local frame = dap.session().current_frame
  local scope = request('scopes', { frameId = frame.id }).scopes[1]
  local found = {}
  for _, variable in ipairs(request('variables', { variablesReference = scope.variablesReference }).variables) do
    found[variable.name] = variable
  end
  return found
end

local function equal(what, got, wanted)
  if not vim.deep_equal(got, wanted) then
    fail(('%s is %s, not %s'):format(what, vim.inspect(got), vim.inspect(wanted)))
  end
end

vim.cmd.edit(shop .. '/main.go')
vim.bo.filetype = 'go'
vim.fn.cursor(line_of('// breakpoint'), 1)
dap.set_breakpoint()
vim.fn.cursor(line_of('// logpoint'), 1)
dap.set_breakpoint(nil, nil, 'adding {item.Name} to {sum}')

local configuration = dap.configurations.go[1]
equal('the first configuration', configuration.name, 'spelunk: debug package')
dap.run(configuration)
stands('the breakpoint is reached', line_of('// breakpoint'), 'breakpoint')
equal('rebate', locals().rebate.value, '50')
equal('the type of first', locals().first.type, '*main.Order')
equal('an expression', request('evaluate', { expression = 'first.Items[1].Cents', frameId = dap.session().current_frame.id, context = 'repl' }).result, '900')

dap.step_into()
stands('the step goes into the function', line_of('func price'), 'step')
dap.step_out()
stands('the step out comes back', line_of('// breakpoint'), 'step')
eventually('the logpoint tells', function()
  return (output.stdout or ''):find('> [Go 1]: adding "tea" to 0', 1, true) and output.stdout:find('> [Go 1]: adding "cup" to 350', 1, true)
end)
dap.step_over()
stands('the step over goes to the next line', line_of('first.ID, "costs"'), 'step')
equal('total', locals().total.value, '1200')

dap.continue()
eventually('the panic stops the program', function()
  return last.reason == 'exception'
end)
local exception = request('exceptionInfo', { threadId = last.threadId })
if not (exception.description or ''):find('assignment to entry in nil map', 1, true) then
  fail('the panic is described as ' .. vim.inspect(exception))
end
eventually('the program wrote', function()
  return (output.stdout or ''):find('order 1 costs 1200', 1, true)
end)

local before = stops
dap.restart()
eventually('the program stops again after a restart', function()
  return stops > before
end)
stands('the breakpoint is reached again', line_of('// breakpoint'), 'breakpoint')

dap.terminate()
eventually('the session ends', function()
  return dap.session() == nil
end)
io.stdout:write('1 passed, 0 failed\n')
os.exit(0)
