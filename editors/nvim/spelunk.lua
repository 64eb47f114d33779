-- spelunk for nvim-dap: the adapter, and configurations for Go files.
--
-- Put this file into a `lua/` folder of your configuration, and call
--
--     require('spelunk').setup()
--
-- or, with the program somewhere else than in PATH, require('spelunk').setup({ path = '/path/to/spelunk' }).
local M = {}

--- What a launch or attach is asked for, if a configuration says nothing else.
local defaults = {
  --- The program: a path, or a name that is looked up in PATH.
  path = 'spelunk',
  --- How long a server may take to listen, in s. nvim-dap tries four times a second.
  start_timeout = 10,
  --- `local` lets the program write to nvim-dap's own output; `remote` shows its output in the REPL.
  output_mode = 'remote',
}

--- The regular expression that chooses the test around the cursor, for `-test.run`.
local function test_at_cursor()
  for line = vim.fn.line('.'), 1, -1 do
    local name = vim.fn.getline(line):match('^func%s+(Test[%w_]*)%s*%(') or vim.fn.getline(line):match('^func%s+(Fuzz[%w_]*)%s*%(')
    if name then
      return '^' .. name .. '$'
    end
  end
  vim.notify('no test function at or above the cursor', vim.log.levels.ERROR)
  return require('dap').ABORT
end

--- Registers the adapter `spelunk`, and configurations for the file type `go` in front of those that are there.
function M.setup(options)
  options = vim.tbl_extend('force', defaults, options or {})
  local dap = require('dap')

  -- A function, so that a missing program is told when it is needed, in words that help.
  dap.adapters.spelunk = function(on_adapter, config)
    local program = vim.fn.exepath(vim.fn.expand(options.path))
    if config.request == 'attach' and config.mode == 'remote' then
      on_adapter({ type = 'server', host = config.host or '127.0.0.1', port = assert(config.port, 'a remote attach needs `port`') })
    elseif program == '' then
      vim.notify(("spelunk: no program '%s'; install it, or pass its path to setup()"):format(options.path), vim.log.levels.ERROR)
    else
      on_adapter({
        type = 'server',
        port = '${port}',
        executable = {
          command = program,
          args = { 'dap', '-l', '127.0.0.1:${port}' },
          -- The Go toolchain finds the module from the folder it runs in.
          cwd = config.dlvCwd,
        },
        options = { max_retries = options.start_timeout * 4 },
      })
    end
  end

  local function configuration(name, attributes)
    return vim.tbl_extend('force', { type = 'spelunk', name = name, request = 'launch', outputMode = options.output_mode }, attributes)
  end
  local configurations = {
    configuration('spelunk: debug package', { mode = 'debug', program = '${fileDirname}', dlvCwd = '${fileDirname}' }),
    configuration('spelunk: debug package, with arguments', {
      mode = 'debug',
      program = '${fileDirname}',
      dlvCwd = '${fileDirname}',
      args = function()
        return vim.split(vim.fn.input('Arguments: '), ' +', { trimempty = true })
      end,
    }),
    configuration('spelunk: debug tests', { mode = 'test', program = '${fileDirname}', dlvCwd = '${fileDirname}' }),
    configuration('spelunk: debug test at cursor', {
      mode = 'test',
      program = '${fileDirname}',
      dlvCwd = '${fileDirname}',
      args = function()
        local test = test_at_cursor()
        return test == dap.ABORT and test or { '-test.run', test }
      end,
    }),
    configuration('spelunk: debug binary', {
      mode = 'exec',
      program = function()
        return vim.fn.input('Binary: ', vim.fn.getcwd() .. '/', 'file')
      end,
    }),
  }
  -- Without breakpoints a process is not stopped by this: logpoints are probes in the kernel.
  table.insert(configurations, {
    type = 'spelunk',
    name = 'spelunk: attach to process',
    request = 'attach',
    mode = 'local',
    processId = require('dap.utils').pick_process,
  })
  dap.configurations.go = vim.list_extend(configurations, dap.configurations.go or {})
end

--- Sets a logpoint on the current line, asking for its message.
function M.logpoint()
  vim.ui.input({ prompt = 'Log message, with {expressions}: ' }, function(message)
    if message and message ~= '' then
      require('dap').set_breakpoint(nil, nil, message)
    end
  end)
end

return M
